// The loss of all runs, and what running cost.

// Points of a column along the chosen axis: [x, y, place]; none where the run
// has not recorded it.
function points(run, column, axis = choice.axis) {
  const xs = run.steps[axis];
  const ys = run.steps[column];
  if (!xs || !ys) return [];
  return xs.map((x, i) => [x, ys[i], i]);
}

function axesThere() {
  return Object.entries(AXES).filter(([axis]) =>
    RUNS.some((run) => run.steps[axis]));
}

const axisNow = () => AXES[choice.axis];

// Of the run whose details are shown: phases, as they follow each other.
function bandsOf(run, axis = choice.axis) {
  const xs = run.steps[axis];
  if (!xs) return [];
  const bands = [];
  xs.forEach((x, i) => {
    const number = run.steps.phase[i];
    const last = bands[bands.length - 1];
    if (last && last.number === number) {
      last.to = x;
    } else {
      bands.push({ number, from: last ? last.to : 0, to: x,
        label: run.phases[number].name });
    }
  });
  return bands;
}

function verdictsOfGrowth(run, growth) {
  return run.verdicts.filter((one) =>
    one.phase === growth.phase && one.stage === "growth");
}

// Growth steps as upright lines, with what was proved.
function rulesOf(run, number, axis = choice.axis) {
  const there = run.growths.filter((growth) => isNumber(growth[axis]));
  return there.map((growth) => {
    const verdicts = verdictsOfGrowth(run, growth);
    const passed = verdicts.filter((one) => one.outcome === "pass").length;
    const proof = verdicts.length === 0 ? "no verdicts recorded"
      : `${passed} of ${verdicts.length} verdicts passed`;
    const marks = verdicts.length > 0 ? `, ${passed}/${verdicts.length} passed`
      : "";
    return { x: growth[axis],
      labels: [`${growth.operator} ${change(growth.jump)}${marks}`,
        `${growth.operator} ${change(growth.jump)}`, String(growth.operator)],
      colour: RUNS.length > 1 ? colourOf(number) : "var(--growth)",
      lines: [`growth: ${growth.operator}`,
        `jump of the probe ${change(growth.jump)} nats`, proof] };
  });
}

function lossSeries() {
  return RUNS.flatMap((run, number) => {
    const name = RUNS.length > 1 ? `${runName(run)}: ` : "";
    const colour = colourOf(number);
    const made = [];
    if (choice.raw) {
      made.push({ label: `${name}loss`, colour, faint: choice.smooth,
        points: points(run, "loss") });
    }
    if (choice.smooth) {
      made.push({ label: `${name}smoothed`, colour,
        points: points(run, "smooth_loss"), dash: DASHES[number % 4] });
    }
    made.push({ label: `${name}held-out`, colour, mark: "dot",
      points: run.evaluations.map((one) => [one[choice.axis], one.eval_loss])
        .filter((point) => point.every(isNumber)) });
    return made.filter((one) => one.points.length > 0);
  });
}

// A line of each run; what is thin and what is round is said once.
function runLegend() {
  return [...RUNS.map((run, number) => ({ label: runName(run),
    colour: colourOf(number), dash: DASHES[number % 4] })),
  { label: "each step", colour: "var(--muted)", faint: true },
  { label: "held-out", colour: "var(--muted)", mark: "dot" }];
}

// Lines of several runs differ by more than their colour.
const DASHES = [null, "7 3", "2 3", "9 3 2 3"];

function whereOf(run) {
  return (x, place) => {
    if (RUNS.length > 1 || place === undefined) return null;
    const phase = run.phases[run.steps.phase[place]];
    return `${phase.name}, step ${whole(run.steps.step[place])}; ` +
      axisNow().said(x);
  };
}

function lossSection() {
  const made = section("loss", "Loss",
    "Cross-entropy in nats per token. Drag over a part to see it larger; a " +
    "double click, or Escape, shows the whole range again.");
  const redraw = () => FIGURES.forEach((one) => one.spec.along && one.redraw());
  const chart = lineChart({
    id: "loss-chart", title: "Training loss",
    height: (width) => width < 480 ? 320 : 430,
    along: true, axis: axisNow, log: () => choice.log,
    y: { label: "nats per token", exact: loss },
    legend: RUNS.length > 1 ? runLegend : null, series: lossSeries,
    where: whereOf(RUNS[choice.run]),
    bands: () => RUNS.length === 1 ? bandsOf(RUNS[0]) : [],
    rules: () => RUNS.flatMap((run, number) => rulesOf(run, number)),
    controls: element("div", { class: "controls" },
      choices("Along", axesThere().map(([axis, words]) => [axis, words.short]),
        () => choice.axis, (axis) => {
          choice.axis = axis;
          wholeRanges();
          redraw();
        }),
      choices("Scale", [[false, "Linear"], [true, "Log"]],
        () => choice.log, (log) => { choice.log = log; redraw(); }),
      check("each step", choice.raw, (on) => { choice.raw = on; redraw(); }),
      check("smoothed", choice.smooth,
        (on) => { choice.smooth = on; redraw(); })),
  });
  made.append(chart.node);
  if (RUNS.length > 1) made.append(comparison());
  for (const run of RUNS) made.append(...costNotes(run));
  return made;
}

function costNotes(run) {
  const notes = [];
  if (run.flops_are_estimated) {
    notes.push(`FLOPs of ${runName(run)} are 6 times active parameters and ` +
      `tokens: ${run.planned_missing}.`);
  } else if (!run.steps.flops) {
    notes.push(`FLOPs of ${runName(run)} are not known: ` +
      `${run.planned_missing || "its plan does not have all its phases"}.`);
  }
  return notes.map((text) => element("p", { class: "note" }, text));
}

// The losses where all runs had spent the same.
function comparison() {
  const names = RUNS.map(runName);
  const rows = DATA.comparison.map((row) => [
    AXES[row.axis].said(row.at),
    ...row.losses.map((value, i) => i === 0 ? loss(value)
      : `${loss(value)} (${change(row.differences[i])})`)]);
  return table("Smoothed loss at equal cost, and its difference from the " +
    "first run", ["At", ...names], rows, (i) => i > 0);
}

function costSection(run) {
  const made = section("cost", "Speed and memory");
  made.append(element("div", { class: "pair" },
    lineChart({ id: "speed-chart", title: "Tokens per second", height: 260,
      along: true, axis: axisNow, y: { from: 0,
        format: count, exact: count },
      bands: () => bandsOf(run), where: whereOf(run), legend: () => [],
      series: () => [{ label: "tokens/s", colour: colourOf(0),
        points: points(run, "tokens_per_second") }] }).node,
    lineChart({ id: "memory-chart", title: "Memory, planned and measured",
      note: run.planned_missing ? `Nothing is planned: ${run.planned_missing}.`
        : null, height: 260, along: true, axis: axisNow,
      y: { from: 0, format: bytes, exact: bytes },
      bands: () => bandsOf(run), where: whereOf(run),
      series: () => memorySeries(run) }).node));
  return made;
}

// The plan's peak is a level over each phase.
function memorySeries(run) {
  const planned = bandsOf(run).filter((band) =>
    isNumber(run.phases[band.number].planned_peak_bytes)).flatMap((band) => {
    const peak = run.phases[band.number].planned_peak_bytes;
    return [[band.from, peak], [band.to, peak]];
  });
  return [{ label: "measured peak", colour: colourOf(0),
    points: points(run, "peak_memory_bytes") },
  { label: "planned peak", colour: colourOf(1), dash: "6 3", points: planned }]
    .filter((one) => one.points.length > 0);
}
