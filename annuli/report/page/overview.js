// The head of the page, and what a run is.

// First and last figure of each phase of a run.
function phaseRows(run) {
  return run.phases.map((phase, number) => {
    const places = run.steps.phase.map((of, i) => of === number ? i : -1)
      .filter((i) => i >= 0);
    const held = run.evaluations
      .filter((one) => one.phase === phase.name).pop();
    const growth = run.growths.find((one) => one.phase === phase.name);
    const verdicts = run.verdicts.filter((one) => one.phase === phase.name);
    return { phase, number, growth, held, verdicts,
      first: places[0], last: places[places.length - 1],
      passed: verdicts.filter((one) => one.outcome === "pass").length };
  });
}

function title() {
  const names = RUNS.map(runName);
  return names.length === 1 ? names[0] : names.join(" \u00b7 ");
}

// The rings of a tree: what the program is named after.
function rings() {
  const svg = d3.create("svg").attr("class", "rings")
    .attr("viewBox", "-20 -20 40 40").attr("aria-hidden", "true");
  [18, 13.2, 8.6, 4.2].forEach((radius, i) => svg.append("circle")
    .attr("r", radius).attr("cx", (18 - radius) * 0.12)
    .style("stroke-width", 1.4 + 0.5 * i));
  return svg.node();
}

function headOfPage() {
  const theme = choices("Colours", [["auto", "Auto"], ["light", "Light"],
    ["dark", "Dark"]], () => document.documentElement.dataset.theme || "auto",
  (value) => {
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
    FIGURES.forEach((one) => one.redraw());
  });
  document.getElementById("top").append(rings(),
    element("div", { class: "headline" },
      element("h1", {}, title()),
      element("p", {}, RUNS.length === 1 ? stateOf(RUNS[0])
        : `${RUNS.length} runs beside each other`)),
    theme);
}

function stateOf(run) {
  const last = run.steps.step.length - 1;
  const steps = plural(run.steps.count, "step");
  if (run.finished) {
    return `A finished run of Annuli: ${steps}, ` +
      `${count(run.steps.tokens[last])} tokens, ` +
      `${duration(run.steps.seconds[last])}.`;
  }
  const phase = run.phases[run.steps.phase[last]];
  const of = phase.max_steps ? ` of ${whole(phase.max_steps)}` : "";
  return `A run of Annuli that is not finished: phase ${phase.name}, step ` +
    `${whole(run.steps.step[last])}${of}.` + (run.torn
    ? " Its last line is cut: it is being written, or was killed." : "");
}

// "All 45 verdicts passed.", or which did not.
function verdictLine(run) {
  const list = run.verdicts;
  if (list.length === 0) return "This run has no verdicts.";
  const of = (outcome) => list.filter((one) => one.outcome === outcome);
  const failed = of("fail");
  const passed = of("pass").length;
  if (passed === list.length) return `All ${list.length} verdicts passed.`;
  const parts = [`${passed} of ${list.length} verdicts passed`];
  if (failed.length > 0) {
    parts.push(`failed: ${[...new Set(failed.map((one) =>
      `${one.check} (${one.phase})`))].join(", ")}`);
  }
  if (of("allowed").length > 0) {
    parts.push(`${of("allowed").length} failed and the plan allows it`);
  }
  if (of("advice").length > 0) {
    parts.push(plural(of("advice").length, "warning"));
  }
  return parts.join("; ") + ".";
}

// "AMD EPYC, 2 hardware threads, 25.2 GB, AVX-512 kernels", and how many
// processes share it.
function machineWords(machine) {
  const many = machine.processes > 1 ? `${machine.processes} processes on ` : "";
  return `${many}${machine.processor || "a processor without a name"}, ` +
    `${plural(machine.hardware_threads, "hardware thread")}, ` +
    `${bytes(machine.memory_bytes)}, ${machine.kernels} kernels`;
}

function programWords(program) {
  return Object.entries(program).map(([name, version]) => `${name} ${version}`)
    .join(", ");
}

// Of the sessions, what differs among them is said of each.
function sessionFacts(run) {
  const different = (words) => [...new Set(run.sessions.map(words))].join("; ");
  const last = run.sessions[run.sessions.length - 1];
  if (!last) {
    const made = run.lineage[run.lineage.length - 1];
    return [["Program", made ? programWords(made.versions) : "not recorded"],
      ["Machine, commit", "not recorded by this run"]];
  }
  const threads = different((one) => plural(one.threads, "thread") +
    (one.processes > 1 ? ` of each of ${one.processes} processes` : ""));
  const begun = run.sessions.map((one) => one.started.replace("T", " ")
    .replace("Z", " UTC") + (one.after_step > 0 || one.phase !==
      run.phases[0].name ? `, after step ${whole(one.after_step)} of ` +
        `${one.phase}` : ""));
  return [["Program", different((one) => programWords(one.program))],
    ["Machine", different((one) =>
      one.machines.map(machineWords).join(" and ")) + `; ${threads}`],
    [begun.length > 1 ? `Begun, and resumed ${begun.length - 1} times`
      : "Begun", begun.slice(0, 1).concat(begun.slice(1).slice(-4)).join("; ")]];
}

function facts(run) {
  const plan = run.plan;
  const list = [
    ["Folder", run.folder],
    ["Plan", plan ? `${plan.name}, seed ${plan.seed}, ` +
      `${short(plan.hash)}` : "not in the folder"],
    ["Training", plan ? `${plan.optimizer}, ${plan.precision}, windows of ` +
      `${plan.sequence_length} tokens` : null],
    ["Tokenizer", plan ? plan.tokenizer : null],
    ...sessionFacts(run),
    ["Verdicts", verdictLine(run)],
  ];
  return element("dl", { class: "facts" }, ...list.filter(([, text]) => text)
    .flatMap(([name, text]) =>
      [element("dt", {}, name), element("dd", {}, text)]));
}

function phaseTable(run) {
  const steps = run.steps;
  const rows = phaseRows(run).map((row) => [
    row.phase.name,
    row.growth ? row.growth.operator : row.number === 0 ? "begins"
      : "not begun",
    shapeWords(row.phase.shape),
    parametersOf(row.phase),
    stepsOf(row, steps),
    row.first === undefined ? "-" : loss(steps.loss[row.first]),
    row.last === undefined ? "-" : loss(steps.loss[row.last]),
    row.held ? loss(row.held.eval_loss) : "-",
    row.growth ? change(row.growth.jump) : "-",
    row.verdicts.length > 0 ? `${row.passed}/${row.verdicts.length}` : "-",
    bytes(row.phase.peak_memory_bytes),
  ]);
  return table(`Phases of ${runName(run)}`, ["Phase", "Growth", "Shape",
    "Parameters", "Steps", "Loss first", "last", "Held-out",
    "Jump", "Verdicts", "Peak memory"], rows, (i) => i > 3);
}

function parametersOf(phase) {
  const total = count(phase.total_parameters);
  return phase.active_parameters < phase.total_parameters
    ? `${total} (${count(phase.active_parameters)} active)` : total;
}

function stepsOf(row, steps) {
  if (row.last === undefined) return "0";
  const done = steps.step[row.last];
  const most = row.phase.max_steps;
  return most && most !== done ? `${whole(done)} of ${whole(most)}`
    : whole(done);
}

function overview(run) {
  const made = RUNS.length === 1 ? section("run", "The run")
    : section(`run-${RUNS.indexOf(run)}`, runName(run));
  made.append(facts(run), phaseTable(run));
  for (const back of run.rollbacks) {
    made.append(element("p", { class: "note" }, `Rolled back at step ` +
      `${back.step} of phase ${back.phase} to step ${back.to_step} of ` +
      `${back.to_phase}: ${back.reason}`));
  }
  return made;
}
