// One row a measure, each on the same scale: how far it is from its limit, on a
// logarithm. Left of the line at 1 it holds.

// `spec`: as of Figure, and items(): [{group, label, ratio, exact, outcome,
// words, lines}]. `ratio` is the measure over its limit (or the limit over it
// where it must be at least that); `exact`: it holds and has no ratio, as 0.
function scaleChart(spec) {
  const chart = new Figure({
    ...spec,
    height: (width) => layOut(spec.items(), width).height,
    draw: (svg, width) => drawScale(spec, chart, svg, width),
  });
  return chart;
}

// Where each row stands; on a narrow page its words stand above its line.
function layOut(items, width) {
  const narrow = width < 720;
  const rowHeight = narrow ? 42 : 23;
  let y = 26;
  let group = null;
  const rows = items.map((item) => {
    const heads = item.group !== group;
    if (heads) y += group === null ? 6 : 30;
    group = item.group;
    const row = { item, head: heads ? y : null, y: y + (heads ? 18 : 0) };
    y = row.y + rowHeight;
    return row;
  });
  return { narrow, rows, height: y + 16 };
}

function drawScale(spec, chart, svg, width) {
  const { narrow, rows, height } = layOut(spec.items(), width);
  const left = narrow ? 12 : Math.min(430, width * 0.42);
  const right = width - (narrow ? 12 : 170);
  const ratios = spec.items().map((item) => item.ratio)
    .filter((ratio) => isNumber(ratio) && ratio > 0);
  const low = Math.min(1e-2, d3.min(ratios) || 1);
  const high = Math.max(10, d3.max(ratios) || 1);
  const x = d3.scaleLog().domain([low, high]).range([left + 26, right - 12]);
  drawScaleAxis(svg, x, left, height);
  for (const row of rows) drawRow(row, chart, svg, x,
    { left, right, narrow, width });
}

function drawScaleAxis(svg, x, left, height) {
  const [low, high] = x.domain();
  const room = (x.range()[1] - left) / 62;
  const stride = Math.ceil(Math.log10(high / low) / room);
  const ticks = d3.range(Math.ceil(Math.log10(low)), Math.log10(high) + 1e-9)
    .filter((power) => power % Math.max(stride, 1) === 0)
    .map((power) => 10 ** power);
  svg.append("g").attr("class", "axis x grid")
    .attr("transform", "translate(0,20)")
    .call(d3.axisTop(x).tickValues(ticks).tickSize(-(height - 30))
      .tickFormat((tick) => tick === 1 ? "limit" : digits(tick)));
  svg.append("text").attr("class", "axis-label").attr("x", left + 2)
    .attr("y", 12).text("0");
  svg.append("line").attr("class", "limit").attr("x1", x(1)).attr("x2", x(1))
    .attr("y1", 20).attr("y2", height - 10);
}

function drawRow(row, chart, svg, x, place) {
  const { item } = row;
  if (row.head !== null) {
    svg.append("text").attr("class", "row-group").attr("x", 2)
      .attr("y", row.head + 8).text(item.group);
  }
  const middle = row.y + (place.narrow ? 30 : 13);
  const at = item.exact ? place.left + 6
    : isNumber(item.ratio) ? Math.max(place.left + 14, x(item.ratio))
      : place.right;
  const group = svg.append("g").attr("class", `row ${item.outcome}`);
  const room = place.narrow ? place.width - 20 : place.left - 16;
  group.append("text").attr("x", place.narrow ? 2 : place.left - 8)
    .attr("y", row.y + (place.narrow ? 16 : 17))
    .attr("text-anchor", place.narrow ? "start" : "end")
    .text(fitting(item.label, room, 12.5, item.outcome === "fail" ? 600 : ""));
  group.append("line").attr("class", "track").attr("x1", place.left + 6)
    .attr("x2", place.right).attr("y1", middle).attr("y2", middle);
  if (item.outcome === "pass") {
    group.append("circle").attr("cx", at).attr("cy", middle).attr("r", 4.5)
      .attr("class", item.exact ? "exact" : "measure");
  } else {
    group.append("path").attr("class", "measure").attr("d",
      `M${at - 5},${middle - 5}l10,10m0,-10l-10,10`);
  }
  if (!place.narrow) {
    group.append("text").attr("class", "figures").attr("x", place.right + 10)
      .attr("y", row.y + 17).text(item.words);
  }
  const show = () => chart.say(Math.min(at, place.right - 40), row.y + 24, [
    { head: true, text: item.label }, ...item.lines.map((text) => ({ text }))]);
  group.append("rect").attr("class", "over").attr("x", 0).attr("y", row.y)
    .attr("width", place.width).attr("height", place.narrow ? 40 : 22)
    .on("pointermove", show).on("pointerdown", show)
    .on("pointerleave", () => chart.hide());
}
