// Verdicts, lineage, samples.

const VERDICT_COLUMNS = ["phase", "stage", "check", "aspect", "measured",
  "limit", "outcome", "note"];

function verdictRow(one) {
  return [one.phase, one.stage, one.check, one.aspect, one.measured, one.limit,
    one.outcome, one.note || ""];
}

function verdictLegend() {
  return [
    { label: "a measure", colour: "var(--good)", mark: "square" },
    { label: "0, as it must be", colour: "var(--good)", mark: "dot" },
    { label: "failed", colour: "var(--bad)", mark: "square" },
  ];
}

// How far a measure is from its limit, whichever way it must not be crossed.
function verdictItem(one) {
  const { measured, limit } = one;
  const sign = one.at_least ? "\u2265" : "\u2264";
  const numbers = isNumber(measured) && measured > 0 && limit > 0;
  const words = `${isNumber(measured) ? digits(measured) : "NaN"} ${sign} ` +
    digits(limit);
  const lines = [`${one.check}, ${one.stage === "growth" ? "after growth"
    : "after the phase"}`, words, one.outcome === "pass" ? "passed"
    : { fail: "failed", allowed: "failed; the plan allows it",
      advice: "a warning" }[one.outcome]];
  if (one.note) lines.push(String(one.note));
  if (one.tensor) lines.push(String(one.tensor));
  return {
    group: `${one.phase}, ${one.stage === "growth" ? "after growth"
      : "after training"}`,
    label: `${one.check}: ${one.aspect}`,
    ratio: !numbers ? null
      : one.at_least ? limit / measured : measured / limit,
    exact: !numbers && one.outcome === "pass",
    outcome: one.outcome, words, lines,
  };
}

// The failing first, and those nearest to their limit before the others.
function inOrder(verdicts) {
  const bad = (one) => one.outcome === "pass" ? 1 : 0;
  const groups = d3.map(verdicts, (one) => `${one.phase}/${one.stage}`).keys();
  return groups.flatMap((group) => verdicts
    .filter((one) => `${one.phase}/${one.stage}` === group)
    .sort((a, b) => bad(a) - bad(b) ||
      (verdictItem(b).ratio || 0) - (verdictItem(a).ratio || 0)));
}

function verdictsSection(run) {
  const made = section("verdicts", "Verdicts",
    `${verdictLine(run)} Each measure over its limit, on a logarithm: left ` +
    "of the line it holds.");
  if (run.verdicts.length === 0) return made;
  const list = inOrder(run.verdicts);
  made.append(scaleChart({ id: "verdict-chart", title: "Every verdict",
    columns: VERDICT_COLUMNS, rows: () => list.map(verdictRow),
    legend: verdictLegend, items: () => list.map(verdictItem) }).node);
  return made;
}

function edgesOf(run, number) {
  return run.lineage.map((record) => {
    const grown = !["initialize", "train", "edit", "export"]
      .includes(record.operator);
    const proof = record.of === 0 ? ""
      : `, ${record.passed}/${record.of} verdicts`;
    return { parents: record.parents, child: record.child, grown,
      label: record.operator + proof, colour: colourOf(number),
      words: argumentWords(record.arguments),
      lines: [`from ${record.parents.map(short).join(", ")}`,
        `to ${short(record.child)}`, `seed ${record.seed}`,
        argumentWords(record.arguments)] };
  });
}

function lineageSection() {
  const made = section("lineage", "Lineage",
    "How the model came to be. A filled ring is a growth step; the hash is " +
    "that of all its weights.");
  const edges = RUNS.flatMap(edgesOf);
  if (edges.length === 0) {
    made.append(notRecorded("There is no lineage yet: it is written at the " +
      "end of the first phase."));
    return made;
  }
  made.append(lineageChart({ id: "lineage-chart", title: "From parent to child",
    columns: ["operator", "parents", "child", "details"],
    rows: () => edges.map((edge) => [edge.label, edge.parents.join(" "),
      edge.child, edge.words]),
    edges: () => edges }).node);
  return made;
}

// The same prompt after each phase, side by side.
function samplesSection(run) {
  const made = section("samples", "Samples",
    "The plan's prompts, continued after each phase.");
  if (run.samples.length === 0) {
    made.append(notRecorded("This run has no samples: the plan asks for " +
      "none, or no phase has ended."));
    return made;
  }
  const groups = d3.nest().key((one) => `${one.prompt}\n${one.how}`)
    .entries(run.samples);
  for (const group of groups) {
    const { prompt, how } = group.values[0];
    made.append(element("h3", { class: "prompt" },
      prompt === "" ? "(no prompt)" : `\u201c${prompt.trim()}\u201d`,
      element("span", { class: "how" }, how)),
    element("div", { class: "samples", tabindex: 0, role: "region",
      "aria-label": `Samples: ${prompt}, ${how}` },
    ...group.values.map((one) => element("div", { class: "sample" },
      element("h4", {}, one.phase), element("pre", {}, one.text)))));
  }
  return made;
}
