// Experts: how full each is, how even they are, how many are dead.

function expertsSection(run) {
  const made = section("experts", "Experts",
    "How full each expert is, against the mean of its layer: blue is " +
    "emptier, orange fuller, and a dead one has its own colour.");
  if (run.loads.length === 0) {
    made.append(notRecorded("This run has no experts in what it has trained " +
      "so far, or has not recorded their load."));
    return made;
  }
  const maps = () => run.loads.map((load) => ({
    label: run.phases[load.phase].name, layers: load.layers,
    experts: load.experts, columns: load.percent_of_mean,
    from: load.first_index, width: load.width }));
  made.append(heatMap({ id: "load-chart", title: "Load of each expert",
    maps, legend: loadLegend }).node);
  made.append(element("div", { class: "triple" },
    expertChart(run, "load_entropy", "Entropy of the load",
      "1: all equally full", 1),
    expertChart(run, "dead_experts", "Dead experts", "without a slot in a step",
      0), expertChart(run, "moe_load_imbalance", "Fullest expert / mean",
      "mean over layers; 1 is even", 1)));
  return made;
}

function loadLegend() {
  const colour = loadColour();
  return [[0, "dead"], [25, "a quarter of the mean"], [50, "half"],
    [100, "even"], [200, "double"], [400, "four times and more"]]
    .map(([percent, label]) =>
      ({ label, colour: colour(percent), mark: "square" }));
}

function expertChart(run, column, name, unit, from) {
  if (!run.steps[column]) {
    return notRecorded(`${name}: not recorded by this run.`);
  }
  const there = () => points(run, column).filter((one) => isNumber(one[1]));
  return lineChart({ id: `${column}-chart`, title: name, height: 230,
    along: true, axis: axisNow, legend: () => [],
    y: { label: unit, exact: digits, from }, bands: () => bandsOf(run),
    where: whereOf(run),
    series: () => [{ label: name.toLowerCase(), colour: colourOf(0),
      points: there() }] }).node;
}
