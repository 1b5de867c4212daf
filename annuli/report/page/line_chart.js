// Lines over steps, tokens, FLOPs or seconds: phases shaded, growth as upright
// lines, the nearest figures at the pointer or by the arrow keys, a part of the
// axis by dragging, which an event "zoomed" of the document tells, with its ends.

// `spec`: as of Figure, and
//   series(): [{label, colour, dash, faint, mark: "dot", points: [[x, y]],
//     quiet}], x rising; quiet ones are not named at the pointer
//   axis(): {label, format}; y: {label, format}, log()
//   bands(): [{from, to, label}]; rules(): [{x, labels, colour, lines}], the
//     labels from long to short
function lineChart(spec) {
  const chart = { zoom: null, at: null };
  const figure = new Figure({
    ...spec,
    legend: spec.legend || (() => distinct(spec.series())),
    columns: ["series", "at", spec.y.label],
    rows: () => spec.series().flatMap((series) =>
      series.points.map(([x, y]) => [series.label, x, y])),
    draw: (svg, width, height) =>
      drawLines(chart, spec, figure, svg, width, height),
  });
  figure.chart = chart;
  return figure;
}

function distinct(series) {
  const seen = new Set();
  return series.filter((one) => !seen.has(one.label) && seen.add(one.label));
}

function drawLines(chart, spec, figure, svg, width, height) {
  const small = width < 480;
  const box = { left: 0, right: width - 14, top: spec.bands ? 44 : 14,
    bottom: height - 40 };
  const series = spec.series().filter((one) => one.points.length > 0);
  const y = yScale(spec, series, xScale(chart, series, box), box);
  const ticks = yTicks(spec, y, small);
  box.left = 14 + 7 * (d3.max(ticks, (tick) => tick.text.length) || 1);
  const x = xScale(chart, series, box);
  const clip = `clip-${spec.id}`;
  svg.append("clipPath").attr("id", clip).append("rect")
    .attr("x", box.left - 1).attr("y", box.top - 6)
    .attr("width", Math.max(box.right - box.left + 7, 0))
    .attr("height", box.bottom - box.top + 12);
  if (spec.bands) drawBands(spec.bands(), svg, x, box);
  drawAxes(spec, svg, x, y, box, ticks);
  const rules = spec.rules ? spec.rules() : [];
  drawRules(rules, svg, x, box);
  const marks = svg.append("g").attr("clip-path", `url(#${clip})`);
  for (const one of series) drawSeries(one, marks, x, y, spec);
  listen(chart, { spec, figure, svg, x, y, box, series, rules });
}

function xScale(chart, series, box) {
  const all = d3.extent(series.flatMap((one) =>
    [one.points[0][0], one.points[one.points.length - 1][0]]));
  const domain = chart.zoom || (all[0] === all[1] ? [all[0] - 1, all[1] + 1]
    : [Math.min(all[0], series.from ?? all[0]), all[1]]);
  return d3.scaleLinear().domain(domain).range([box.left, box.right]);
}

// Of what is to be seen; a logarithm has no place for zero and below.
function yScale(spec, series, x, box) {
  const [from, to] = x.domain();
  const log = spec.log && spec.log();
  let values = series.flatMap((one) => one.points
    .filter((point) => point[0] >= from && point[0] <= to)
    .map((point) => point[1]));
  if (log) values = values.filter((value) => value > 0);
  let [low, high] = values.length > 0 ? d3.extent(values) : [log ? 1 : 0, 2];
  if (spec.y.from !== undefined && !log) low = Math.min(low, spec.y.from);
  if (low === high) {
    const room = Math.abs(low) * 0.1 || 1;
    [low, high] = log ? [low / 1.1, high * 1.1] : [low - room, high + room];
  }
  const scale = log ? d3.scaleLog() : d3.scaleLinear();
  scale.domain([low, high]).range([box.bottom, box.top + 4]);
  return log ? scale : scale.nice(6);
}

function drawBands(bands, svg, x, box) {
  const [from, to] = x.domain();
  const seen = bands.filter((band) => band.to > from && band.from < to);
  seen.forEach((band, i) => {
    const left = x(Math.max(band.from, from));
    const width = Math.max(x(Math.min(band.to, to)) - left, 0);
    const group = svg.append("g").attr("class", "band");
    group.append("rect").attr("x", left).attr("y", 4).attr("width", width)
      .attr("height", box.bottom - 4)
      .attr("class", i % 2 === 0 ? "band-even" : "band-odd");
    const label = fitting(band.label, width - 8, 12, 600);
    if (label) {
      group.append("text").attr("class", "band-label").attr("x", left + 6)
        .attr("y", 18).text(label);
    }
  });
}

// [{value, text}]
function yTicks(spec, y, small) {
  const few = spec.height < 250 || small ? 4 : 6;
  const values = spec.log && spec.log() ? logTicks(y) : y.ticks(few);
  const format = spec.y.format || digits;
  return values.map((value) => ({ value, text: format(value) }));
}

function drawAxes(spec, svg, x, y, box, ticks) {
  const axis = spec.axis();
  svg.append("g").attr("class", "axis x")
    .attr("transform", `translate(0,${box.bottom})`)
    .call(d3.axisBottom(x).ticks(Math.max(2, Math.floor(
      (box.right - box.left) / 90))).tickFormat(axis.format).tickSizeOuter(0));
  svg.append("g").attr("class", "axis y")
    .attr("transform", `translate(${box.left},0)`)
    .call(d3.axisLeft(y).tickValues(ticks.map((tick) => tick.value))
      .tickFormat((value, i) => ticks[i].text)
      .tickSize(-(box.right - box.left)).tickPadding(6));
  svg.append("text").attr("class", "axis-label").attr("x", box.right)
    .attr("y", box.bottom + 34).attr("text-anchor", "end").text(axis.label);
}

// Few enough to read, whatever the range.
function logTicks(y) {
  const [low, high] = y.domain();
  const decades = Math.log10(high / low);
  if (decades < 1) return d3.ticks(low, high, 5).filter((tick) => tick > 0);
  const ticks = y.ticks();
  const first = ticks.filter((tick) =>
    /^[1]/.test(tick.toExponential()));
  const few = decades < 3
    ? ticks.filter((tick) => /^[125]/.test(tick.toExponential())) : first;
  const stride = Math.ceil(few.length / 8);
  return few.filter((_, i) => i % stride === 0);
}

// The first of some labels, from long to short, that fits.
function longest(labels, width) {
  const whole = labels.find((label) => fitting(label, width, 11) === label);
  return whole ?? fitting(labels[labels.length - 1] || "", width, 11);
}

function drawRules(rules, svg, x, box) {
  const [from, to] = x.domain();
  const seen = rules.filter((rule) => rule.x >= from && rule.x <= to)
    .sort((a, b) => a.x - b.x);
  seen.forEach((rule, i) => {
    const after = seen.find((other) => x(other.x) > x(rule.x) + 3);
    const next = after ? x(after.x) : box.right;
    const taken = i > 0 && x(rule.x) - x(seen[i - 1].x) <= 3;
    const group = svg.append("g").attr("class", "rule")
      .attr("data-x", rule.x);
    group.append("line").attr("x1", x(rule.x)).attr("x2", x(rule.x))
      .attr("y1", 4).attr("y2", box.bottom).style("stroke", rule.colour);
    const label = taken ? "" : longest(rule.labels, next - x(rule.x) - 8);
    group.append("text").attr("x", x(rule.x) + 6).attr("y", 34)
      .style("fill", rule.colour).text(label);
  });
}

function drawSeries(one, marks, x, y, spec) {
  const log = spec.log && spec.log();
  const points = one.points.filter((point) => isNumber(point[1]) &&
    (!log || point[1] > 0));
  if (one.mark === "dot") {
    marks.append("g").attr("class", "dots").selectAll("circle").data(points)
      .join("circle").attr("cx", (p) => x(p[0])).attr("cy", (p) => y(p[1]))
      .attr("r", 4).style("stroke", one.colour);
    return;
  }
  const line = d3.line().x((p) => x(p[0])).y((p) => y(p[1]))
    .curve(spec.stepwise ? d3.curveStepBefore : d3.curveLinear)
    .defined((p) => p[1] !== null);
  marks.append("path").datum(points).attr("d", line)
    .attr("class", one.faint ? "line faint" : "line")
    .attr("data-series", one.label).style("stroke", one.colour)
    .style("stroke-dasharray", one.dash || null);
}

// The place in `points`, which rise, nearest to `at`.
function nearest(points, at) {
  const after = d3.bisector((point) => point[0]).left(points, at);
  if (after === 0) return 0;
  if (after === points.length) return after - 1;
  return at - points[after - 1][0] < points[after][0] - at ? after - 1 : after;
}

function listen(chart, parts) {
  const { figure, svg, x, box } = parts;
  const brush = d3.brushX().touchable(() => false)
    .extent([[box.left, box.top], [Math.max(box.right, box.left), box.bottom]])
    .on("end", () => {
      if (!d3.event.selection) return;
      const [from, to] = d3.event.selection.map(x.invert);
      if (to - from > (x.domain()[1] - x.domain()[0]) / 1e4) {
        zoomTo(chart, figure, [from, to]);
      }
    });
  const cross = svg.append("g").attr("class", "cross");
  const show = (at) => point(chart, parts, cross, at);
  chart.show = show;
  const hide = () => {
    cross.selectAll("*").remove();
    figure.hide();
  };
  const layer = svg.append("g").attr("class", "brush").call(brush)
    .on("dblclick", () => zoomTo(chart, figure, null));
  layer.select(".overlay")
    .on("pointermove", () => show(x.invert(d3.mouse(svg.node())[0])))
    .on("pointerdown.say", () => show(x.invert(d3.mouse(svg.node())[0])))
    .on("pointerleave", hide);
  svg.on("keydown", () => key(chart, parts, show)).on("blur", hide);
  if (chart.zoom) wholeRange(chart, figure);
}

function zoomTo(chart, figure, domain) {
  chart.zoom = domain;
  figure.redraw();
  if (!figure.spec.along) return;
  document.dispatchEvent(new CustomEvent("zoomed", { detail: domain }));
}

// Of all charts along the axis: another axis has other numbers.
function wholeRanges() {
  for (const figure of FIGURES) {
    if (!figure.spec.along || !figure.chart.zoom) continue;
    d3.select(figure.holder).selectAll("button").remove();
    zoomTo(figure.chart, figure, null);
  }
}

function wholeRange(chart, figure) {
  const button = d3.select(figure.holder).selectAll("button").data([0])
    .join("button").attr("type", "button").attr("class", "whole")
    .text("Whole range");
  button.on("click", () => {
    button.remove();
    zoomTo(chart, figure, null);
  });
}

function key(chart, parts, show) {
  const { series, figure } = parts;
  const main = series.find((one) => !one.quiet) || series[0];
  const pressed = d3.event.key;
  if (!main) return;
  if (pressed === "Escape") return zoomTo(chart, figure, null);
  const last = main.points.length - 1;
  const now = chart.at === null ? -1 : nearest(main.points, chart.at);
  const stride = d3.event.shiftKey ? 10 : 1;
  const next = { ArrowRight: now + stride, ArrowLeft: now - stride, Home: 0,
    End: last }[pressed];
  if (next === undefined) return;
  d3.event.preventDefault();
  show(main.points[Math.max(0, Math.min(next, last))][0]);
}

// The figures nearest to `at`, as a line, dots and text.
function point(chart, parts, cross, at) {
  const { spec, figure, x, y, box, series, rules } = parts;
  chart.at = at;
  cross.selectAll("*").remove();
  const lines = [];
  let head = null;
  for (const one of series) {
    const found = one.points[nearest(one.points, at)];
    const reach = one.mark === "dot" ? 8 : 40;
    if (Math.abs(x(found[0]) - x(at)) > reach) continue;
    if (head === null || !one.quiet) head = head ?? found;
    if (!isNumber(found[1])) continue;
    if (!one.quiet) {
      cross.append("circle").attr("cx", x(found[0])).attr("cy", y(found[1]))
        .attr("r", 4).style("fill", one.colour);
    }
    lines.push({ text: `${one.label} ${(spec.y.exact || digits)(found[1])}`,
      colour: one.colour, dash: one.dash, faint: one.faint, mark: one.mark });
  }
  if (head === null) return figure.hide();
  const where = spec.where ? spec.where(head[0], head[2]) : null;
  const texts = [{ head: true,
    text: where || (spec.axis().said || spec.axis().format)(head[0]) },
  ...lines];
  for (const rule of rules) {
    if (Math.abs(x(rule.x) - x(at)) > 8) continue;
    texts.push(...rule.lines.map((text) => ({ text })));
  }
  cross.append("line").attr("x1", x(head[0])).attr("x2", x(head[0]))
    .attr("y1", box.top).attr("y2", box.bottom);
  figure.say(x(head[0]), box.top, texts);
}
