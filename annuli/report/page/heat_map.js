// A heat map: one column a span of steps, one row an expert, the rows of a
// layer together. The cells are one picture, a pixel each, so that thousands of
// experts cost no more than eight.

// From too empty (blue) over even (the paper's colour) to too full (orange), on
// a logarithm: half and double are equally far. Dead has a colour of its own.
function loadColour() {
  const probe = document.body.appendChild(element("span"));
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const scale = d3.scaleLinear().domain([-2, 0, 2]).clamp(true)
    .range([colour("--cold"), colour("--even"), colour("--hot")])
    .interpolate(d3.interpolateLab);
  const dead = colour("--dead");
  probe.remove();
  return (percent) => percent === 0 ? dead : scale(Math.log2(percent / 100));
}

// `spec`: as of Figure, and
//   maps(): [{label, layers, experts, columns: [[percent]], from, width}], from
//     left to right; columns are `width` steps each, from step `from` on.
function heatMap(spec) {
  const rowsOf = (map) => map.layers * map.experts;
  const rowHeight = () =>
    Math.max(1, Math.min(9, 420 / d3.max(spec.maps(), rowsOf)));
  const chart = new Figure({
    ...spec,
    height: () => 62 + rowHeight() * d3.max(spec.maps(), rowsOf) +
      layerGap * d3.max(spec.maps(), (map) => map.layers),
    columns: ["phase", "from step", "layer", "expert", "slots / mean"],
    rows: () => spec.maps().flatMap((map) => map.columns.flatMap((column, i) =>
      column.map((percent, k) => [map.label, map.from + i * map.width,
        Math.floor(k / map.experts), k % map.experts, percent / 100]))),
    draw: (svg, width, height) =>
      drawHeat(spec, chart, svg, width, rowHeight()),
  });
  return chart;
}

const layerGap = 3;

function drawHeat(spec, chart, svg, width, row) {
  const maps = spec.maps();
  const left = 46;
  const gap = 10;
  const total = d3.sum(maps, (map) => map.columns.length);
  const room = Math.max(width - left - 14 - gap * (maps.length - 1), 10);
  const colour = loadColour();
  let at = left;
  maps.forEach((map) => {
    const wide = room * map.columns.length / total;
    const cells = { map, left: at, top: 24, width: wide, row };
    drawCells(cells, svg, colour);
    svg.append("text").attr("class", "band-label").attr("x", at).attr("y", 16)
      .text(fitting(map.label, wide, 12, 600));
    drawSteps(cells, svg);
    listenCells(cells, svg, chart);
    at += wide + gap;
  });
  drawLayers(maps, svg, left, row);
}

const layerTop = (cells, layer) =>
  cells.top + layer * (cells.map.experts * cells.row + layerGap);

function drawCells(cells, svg, colour) {
  const { map, left, width, row } = cells;
  for (let layer = 0; layer < map.layers; ++layer) {
    const canvas = document.createElement("canvas");
    canvas.width = map.columns.length;
    canvas.height = map.experts;
    const pen = canvas.getContext("2d");
    map.columns.forEach((column, i) => {
      for (let expert = 0; expert < map.experts; ++expert) {
        pen.fillStyle = colour(column[layer * map.experts + expert]);
        pen.fillRect(i, expert, 1, 1);
      }
    });
    svg.append("image").attr("x", left).attr("y", layerTop(cells, layer))
      .attr("width", width).attr("height", map.experts * row)
      .attr("preserveAspectRatio", "none")
      .style("image-rendering", "pixelated")
      .attr("href", canvas.toDataURL());
  }
}

function drawSteps(cells, svg) {
  const { map, left, width } = cells;
  const bottom = layerTop(cells, map.layers);
  const to = map.from + map.columns.length * map.width;
  const x = d3.scaleLinear().domain([map.from, to])
    .range([left, left + width]);
  if (width < 44) return;  // no room for a number
  svg.append("g").attr("class", "axis x")
    .attr("transform", `translate(0,${bottom})`)
    .call(d3.axisBottom(x).ticks(Math.max(1, Math.floor(width / 80)))
      .tickFormat(count).tickSizeOuter(0));
  svg.append("text").attr("class", "axis-label").attr("x", left)
    .attr("y", bottom + 34).text("step");
}

function drawLayers(maps, svg, left, row) {
  svg.append("text").attr("class", "axis-label").attr("x", left - 8)
    .attr("y", 16).attr("text-anchor", "end").text("layer");
  const most = maps.reduce((a, b) => a.layers >= b.layers ? a : b);
  const cells = { map: most, top: 24, row };
  const stride = Math.ceil(12 / (most.experts * row + layerGap));
  for (let layer = 0; layer < most.layers; layer += stride) {
    svg.append("text").attr("class", "axis-label").attr("x", left - 8)
      .attr("y", layerTop(cells, layer) + most.experts * row / 2 + 4)
      .attr("text-anchor", "end").text(layer);
  }
}

function listenCells(cells, svg, chart) {
  const { map, left, width, row } = cells;
  const tall = map.experts * row + layerGap;
  const show = () => {
    const [x, y] = d3.mouse(svg.node());
    const i = Math.min(map.columns.length - 1,
      Math.max(0, Math.floor((x - left) / width * map.columns.length)));
    const layer = Math.min(map.layers - 1,
      Math.max(0, Math.floor((y - cells.top) / tall)));
    const expert = Math.min(map.experts - 1,
      Math.max(0, Math.floor((y - layerTop(cells, layer)) / row)));
    const percent = map.columns[i][layer * map.experts + expert];
    const from = map.from + i * map.width;
    const steps = map.width === 1 ? `step ${from}`
      : `steps ${from} to ${from + map.width - 1}`;
    chart.say(x, y, [{ head: true, text: `${map.label}, ${steps}` },
      { text: `layer ${layer}, expert ${expert}` },
      { text: percent === 0 ? "dead: no slot"
        : `${(percent / 100).toFixed(2)} of the mean` }]);
  };
  svg.append("rect").attr("class", "over").attr("x", left).attr("y", cells.top)
    .attr("width", width).attr("height", map.layers * tall)
    .on("pointermove", show).on("pointerdown", show)
    .on("pointerleave", () => chart.hide());
}
