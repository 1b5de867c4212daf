// Models by their hashes, from the first down, each joined to what it was made
// of. A model of which several were made branches to the right.

// `spec`: as of Figure, and edges(): [{parents, child, label, lines, colour}],
// parents before children.
function lineageChart(spec) {
  const rowHeight = 46;
  const chart = new Figure({
    ...spec,
    height: () => nodesOf(spec.edges()).length * rowHeight + 16,
    draw: (svg, width) => drawTree(spec, chart, svg, width, rowHeight),
  });
  return chart;
}

// One node a hash; `lane` is how far to the right it stands.
function nodesOf(edges) {
  const nodes = new Map();
  let lanes = 0;
  const add = (hash, lane, edge) => {
    const node = { hash, lane, edge, row: nodes.size, followed: false };
    nodes.set(hash, node);
    return node;
  };
  for (const edge of edges) {
    for (const hash of edge.parents) {
      if (hash !== "" && !nodes.has(hash)) add(hash, lanes++, null);
    }
    if (nodes.has(edge.child)) continue;
    const main = nodes.get(edge.parents[0]);
    const lane = main && !main.followed ? main.lane : lanes++;
    if (main) main.followed = true;
    add(edge.child, lane, edge);
  }
  return [...nodes.values()];
}

function drawTree(spec, chart, svg, width, rowHeight) {
  const nodes = nodesOf(spec.edges());
  const byHash = new Map(nodes.map((node) => [node.hash, node]));
  const lanes = d3.max(nodes, (node) => node.lane) + 1;
  const step = Math.min(26, width * 0.3 / lanes);
  const x = (node) => 14 + node.lane * step;
  const y = (node) => 22 + node.row * rowHeight;
  const link = d3.linkVertical().x((place) => place[0]).y((place) => place[1]);
  for (const node of nodes) {
    for (const hash of node.edge ? node.edge.parents : []) {
      const parent = byHash.get(hash);
      if (!parent || parent === node) continue;
      svg.append("path").attr("class", "branch").attr("d", link({
        source: [x(parent), y(parent)], target: [x(node), y(node)] }));
    }
  }
  const text = 14 + lanes * step + 6;
  for (const node of nodes) {
    drawNode(node, chart, svg, { x: x(node), y: y(node), text, width });
  }
}

function drawNode(node, chart, svg, place) {
  const edge = node.edge;
  const group = svg.append("g").attr("class", "node");
  const grown = edge && edge.grown;
  group.append("circle").attr("cx", place.x).attr("cy", place.y)
    .attr("r", grown ? 7 : 5)
    .style("stroke", edge ? edge.colour : "var(--muted)")
    .style("fill", grown ? edge.colour : "var(--paper)");
  const room = place.width - place.text - 4;
  const name = fitting(edge ? edge.label : "a model", room, 13, 600);
  group.append("text").attr("class", "node-name").attr("x", place.text)
    .attr("y", place.y - 2).text(name);
  group.append("text").attr("class", "node-hash").attr("x", place.text)
    .attr("y", place.y + 14)
    .text(node.hash.slice(0, 16));
  if (!edge) return;
  group.append("text").attr("class", "node-words").attr("x", place.text + 176)
    .attr("y", place.y + 14).text(fitting(edge.words, room - 176, 12));
  const show = () => chart.say(place.text + 40, place.y + 20, [
    { head: true, text: edge.label }, ...edge.lines.map((text) => ({ text }))]);
  group.append("rect").attr("class", "over").attr("x", 0)
    .attr("y", place.y - 18).attr("width", place.width).attr("height", 42)
    .on("pointermove", show).on("pointerdown", show)
    .on("pointerleave", () => chart.hide());
}
