// What happens at each growth step, and how copies part afterwards.

const AROUND = 30;  // steps before and after
const MOST_SHOWN = 24;  // growth steps

// Points of a column around a growth step, by steps from it: 0 is the last step
// before, 1 the first after.
function around(run, growth, column) {
  const values = run.steps[column];
  if (!values) return [];
  return run.steps.index.map((index, i) => [index - growth.index, values[i], i])
    .filter(([x]) => Math.abs(x - 0.5) < AROUND);
}

const PER_STEP = [
  ["loss", "Loss", "nats per token", loss],
  ["grad_norm", "Gradient norm", "before clipping", digits],
  ["learning_rate", "Learning rate", "", digits],
  ["update_ratio", "Update / weight", "relative norm", digits],
];

function growthSection(run) {
  const made = section("growth", "Around each growth step",
    `${AROUND} steps before and after. The upright line is where the model ` +
    "grew; nothing is trained in between.");
  if (run.growths.length === 0) {
    made.append(notRecorded("This run has not grown a model yet."));
    return made;
  }
  for (const [number, growth] of run.growths.slice(0, MOST_SHOWN).entries()) {
    made.append(boundary(run, growth, number));
  }
  if (run.growths.length > MOST_SHOWN) {
    made.append(notRecorded(`Of ${run.growths.length} growth steps the first ` +
      `${MOST_SHOWN} are shown.`));
  }
  if (!run.steps.update_ratio) {
    made.append(notRecorded("This run has not recorded the ratio of updates " +
      "to weights."));
  }
  return made;
}

function boundary(run, growth, number) {
  const proved = verdictsOfGrowth(run, growth);
  const passed = proved.filter((one) => one.outcome === "pass").length;
  const grid = element("div", { class: "triple" });
  for (const [column, name, unit, exact] of PER_STEP) {
    const there = () => around(run, growth, column)
      .filter((point) => isNumber(point[1]));
    if (there().length === 0) continue;
    grid.append(aroundChart(run, growth, { id: `growth-${number}-${column}`,
      title: `${name} around ${growth.operator}`, points: there,
      label: name.toLowerCase(), unit, exact }));
  }
  return element("div", { class: "boundary" },
    element("h3", {}, `${growth.operator} \u2192 ${growth.phase}`),
    element("p", { class: "note" },
      `${growth.exact === false ? "Not exact by design. " : ""}` +
      `Probe ${loss(growth.probe_loss_before)} \u2192 ` +
      `${loss(growth.probe_loss_after)}, jump ${change(growth.jump)} nats; ` +
      (proved.length === 0 ? ""
        : `${passed} of ${proved.length} verdicts passed; `) +
      `grown and proved in ${duration(growth.growth_seconds)}. ` +
      argumentWords(growth.arguments)), grid);
}

function aroundChart(run, growth, { id, title, points: there, label, unit,
  exact }) {
  return lineChart({
    id, title, height: 200, legend: () => [], stepwise: id.endsWith("rate"),
    axis: () => ({ label: "steps from growth", format: d3.format("d") }),
    y: { label: unit, exact },
    series: () => [
      { label: `${label} before`, colour: colourOf(0),
        points: there().filter(([x]) => x <= 0) },
      { label: `${label} after`, colour: colourOf(1),
        points: there().filter(([x]) => x > 0) },
    ],
    where: (x, place) => place === undefined ? null
      : `${run.phases[run.steps.phase[place]].name}, step ` +
        `${run.steps.step[place]}`,
    rules: () => [{ x: 0.5, labels: [], colour: "var(--growth)",
      lines: [`growth: ${growth.operator}`] }],
  }).node;
}

function ratesSection(run) {
  const made = section("rates", "Learning rate and gradients");
  const chart = (column, name, unit, log) => lineChart({
    id: `${column}-chart`, title: name, height: 240, along: true,
    axis: axisNow, log: () => log, legend: () => [],
    stepwise: column === "learning_rate",
    y: { label: unit, exact: digits, from: log ? undefined : 0 },
    bands: () => bandsOf(run), where: whereOf(run),
    series: () => [{ label: name.toLowerCase(), colour: colourOf(0),
      points: points(run, column) }] }).node;
  const pair = element("div", { class: "pair" });
  if (run.steps.learning_rate) {
    pair.append(chart("learning_rate", "Learning rate", "", false));
  }
  if (run.steps.grad_norm) {
    pair.append(chart("grad_norm", "Gradient norm", "before clipping", true));
  }
  made.append(pair.children.length > 0 ? pair
    : notRecorded("This run has recorded neither."));
  return made;
}

// Copies that growth made must become different. What was measured while the
// run trained, and the verdicts on widened matrices at the phase's end.
function partingSection(run) {
  const made = section("parting", "How copies part",
    "Growth makes copies, which must go apart. Share of their energy (sum of " +
    "squares) outside the space in which copies are equal: of the weights, " +
    "against what it was right after growth; and of each measured step's " +
    "update, of which copies that can never part have nothing.");
  const measured = [apartChart(run, "copies_apart", "Copies apart",
    "weights"), apartChart(run, "update_apart", "Updates apart", "updates")]
    .filter((one) => one !== null);
  if (measured.length > 0) {
    made.append(element("div", { class: "pair" }, ...measured));
  } else {
    made.append(notRecorded("This run has not recorded how far copies are " +
      "apart, or has not trained a model that copies were made in."));
  }
  const found = run.verdicts.filter((one) => one.check === "symmetry_breaking");
  if (found.length === 0) {
    made.append(notRecorded("This run has no verdict on it: no phase of it " +
      "trained a widened model to its end."));
  } else {
    made.append(scaleChart({ id: "parting-chart",
      title: "Copies against the control", columns: VERDICT_COLUMNS,
      rows: () => found.map(verdictRow), legend: verdictLegend,
      items: () => found.map(verdictItem) }).node);
  }
  return made;
}

function apartChart(run, column, name, label) {
  const there = () => points(run, column).filter((one) => isNumber(one[1]));
  if (there().length === 0) return null;
  const control = column === "copies_apart";
  const zero = control ? run.growths.filter((one) => one.copies_apart === 0)
    .map((one) => one.phase) : [];
  return lineChart({ id: `${column}-chart`, title: name, height: 260,
    note: zero.length === 0 ? null : `The control of ${zero.join(" and ")} ` +
      "is 0, which a logarithm has no place for.", along: true, axis: axisNow,
    log: () => true,
    y: { label: "share of energy", exact: digits }, bands: () => bandsOf(run),
    where: whereOf(run), legend: control ? null : () => [],
    series: () => [{ label, colour: colourOf(0), points: there() },
      ...control ? [{ label: "control: right after growth",
        colour: colourOf(1), dash: "6 3", points: controlPoints(run) }] : []]
      .filter((one) => one.points.length > 0) }).node;
}

// A level over each phase that began with a growth.
function controlPoints(run) {
  return bandsOf(run).flatMap((band) => {
    const growth = run.growths.filter((one) =>
      one.phase === run.phases[band.number].name).pop();
    return growth && isNumber(growth.copies_apart)
      ? [[band.from, growth.copies_apart], [band.to, growth.copies_apart]] : [];
  });
}
