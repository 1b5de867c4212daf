// Norms by layer: a chart for each phase, in which lines are steps.

const STEPS_BY_DEPTH = 5;

const BY_DEPTH = [
  ["weight_rms", "Weights", "root mean square of a layer's matrices"],
  ["stream_rms", "Residual stream", "root mean square after each layer"],
];

function depthSection(run) {
  const made = section("depth", "Norms by depth",
    "Of the weights and of the residual stream, layer by layer: at the first " +
    "steps of each phase and at later ones.");
  if (run.depths.length === 0) {
    made.append(notRecorded("This run has not recorded norms of stream and " +
      "weights by depth."));
    return made;
  }
  for (const [number, depth] of run.depths.entries()) {
    const phase = run.phases[depth.phase].name;
    const charts = BY_DEPTH.filter(([key]) =>
      depth[key].some((layers) => layers.length > 0))
      .map(([key, name, unit]) => depthChart(() => run.depths[number], key,
        `${name} of phase ${phase}`, unit));
    made.append(element("div", { class: "pair" }, ...charts));
  }
  return made;
}

// Places of the lines that are drawn, the first and the last among them.
function shownSteps(count) {
  const most = Math.min(count, STEPS_BY_DEPTH);
  return [...Array(most).keys()].map((i) =>
    most === 1 ? 0 : Math.floor(i * (count - 1) / (most - 1)));
}

function depthChart(now, key, title, unit) {
  return lineChart({ id: `${key}-${now().phase}`, title, height: 240,
    axis: () => ({ label: "layer", format: d3.format("d") }),
    y: { label: unit, exact: digits }, where: (layer) => `layer ${layer}`,
    series: () => depthLines(now(), key) }).node;
}

function depthLines(depth, key) {
  return shownSteps(depth.step.length).map((place, i) => ({
    label: `step ${whole(depth.step[place])}`, colour: colourOf(i),
    dash: DASHES[i % 4],
    mark: depth[key][place].length === 1 ? "dot" : undefined,
    points: depth[key][place].map((value, layer) => [layer, value, layer])
      .filter((point) => isNumber(point[1])),
  }));
}
