"use strict";
// A page that a server gave: it follows its runs. New steps are put behind those
// that are there and the charts are drawn again in their places; what changes
// seldom (phases, verdicts, samples) is built anew around what the reader has
// chosen. A zoom into a long history asks for the steps that it hides.

(() => {
  const state = document.createElement("p");
  let revision = DATA.live.revision;
  let server = DATA.live.server;
  let source = null;
  let pause = 1000;  // before the next try to reach the server
  let timer = null;
  let newest = revision;  // that was told of
  let fetching = false;
  let pressed = false;
  const stale = new Set();  // figures out of sight that show what was

  // Keys of a run whose change leaves the page's sections as they are.
  const QUIET = new Set(["status", "torn", "evaluations", "loads", "depths"]);
  const LISTS = ["loads", "depths"];  // a section each, of as many charts
  const MOST_STEPS = 12000;  // that the page holds of a run

  // Columns, one entry a step, with these behind them.
  function append(steps, more) {
    const before = steps.index.length;
    const added = more.index.length;
    const nothing = (count) => new Array(count).fill(null);
    let isNew = false;
    for (const [key, values] of Object.entries(more)) {
      if (!Array.isArray(values)) continue;
      if (!steps[key]) isNew = true;
      steps[key] = (steps[key] || nothing(before)).concat(values);
    }
    for (const values of Object.values(steps)) {
      if (Array.isArray(values) && values.length === before && added > 0) {
        values.push(...nothing(added));
      }
    }
    steps.count = more.count;
    return isNew;
  }

  function smoothed(steps, from, values) {
    if (!steps.smooth_loss) return;
    for (let i = steps.index.length - 1;
      i >= 0 && steps.index[i] >= from; --i) {
      steps.smooth_loss[i] = values[steps.index[i] - from];
    }
  }

  // What has changed in a run; true if its sections must be built anew.
  function take(run, update) {
    let anew = false;
    const all = new Set([run.steps, run.coarse || run.steps]);
    for (const steps of all) {
      anew = append(steps, update.steps) || anew;
      smoothed(steps, update.smooth_from, update.smooth_loss);
    }
    for (const [key, value] of Object.entries(update.set)) {
      if (LISTS.includes(key) && value.length !== run[key].length) anew = true;
      run[key] = value;
      anew = anew || !QUIET.has(key);
    }
    return anew;
  }

  function onUpdate(event) {
    const update = JSON.parse(event.data);
    if (update.revision <= revision) return undefined;
    newest = update.revision;
    if (fetching) return undefined;
    if (update.base !== revision || update.runs.length !== RUNS.length) {
      return fetchAll();
    }
    revision = update.revision;
    if (update.comparison) DATA.comparison = update.comparison;
    let anew = false;
    update.runs.forEach((one, i) => {
      anew = take(RUNS[i], one) || anew;
    });
    if (RUNS.some((run) =>
      (run.coarse || run.steps).index.length > MOST_STEPS)) {
      return fetchAll();
    }
    if (anew) rebuild();
    else refresh();
    return undefined;
  }

  async function ask(path) {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return answer.json();
  }

  // The whole data, in place of what is there.
  async function fetchAll() {
    if (fetching) return;
    fetching = true;
    try {
      const data = await ask("data");
      fetching = false;
      const had = RUNS.length;
      Object.assign(DATA, data, { runs: RUNS });
      RUNS.splice(0, RUNS.length, ...data.runs);
      ({ revision, server } = data.live);
      if (choice.run >= RUNS.length) choice.run = 0;
      if (RUNS.length === 0) wait();
      else rebuild(had === 0);
      if (newest > revision) fetchAll();
    } catch {
      fetching = false;
      lost();
    }
  }

  // The names of a zoomed chart, an open table and where the focus is outlast
  // that their elements are replaced.
  function rebuild(first) {
    const content = document.getElementById("content");
    const zooms = new Map(FIGURES.filter((one) => one.chart)
      .map((one) => [one.spec.id, one.chart.zoom]));
    const open = FIGURES.filter((one) => one.details.open)
      .map((one) => one.spec.id);
    const focused = placeOf(document.activeElement);
    const [x, y] = [window.scrollX, window.scrollY];
    content.style.minHeight = `${content.offsetHeight}px`;
    for (const id of ["top", "bottom"]) {
      document.getElementById(id).replaceChildren();
    }
    FIGURES.length = 0;
    stale.clear();
    eye.disconnect();
    main();
    document.getElementById("top").append(state);
    for (const figure of FIGURES) {
      if (figure.chart) figure.chart.zoom = zooms.get(figure.spec.id) ?? null;
      if (open.includes(figure.spec.id)) figure.details.open = true;
      eye.observe(figure.holder);
    }
    FIGURES.forEach((one) => one.redraw());
    const zoom = FIGURES.find((one) =>
      one.spec.along && one.chart.zoom && !RUNS.some((run) => run.coarse));
    if (zoom) zoomed(zoom.chart.zoom);
    content.style.minHeight = "";
    if (!first) window.scrollTo({ left: x, top: y, behavior: "instant" });
    focusOn(focused);
    say();
  }

  const FOCUSABLE = "button, input, summary, a[href], [tabindex]";

  function placeOf(node) {
    const holder = node && node.closest("figure[id], section[id], header[id]");
    if (!holder) return null;
    return { id: holder.id,
      at: [...holder.querySelectorAll(FOCUSABLE)].indexOf(node) };
  }

  function focusOn(place) {
    const holder = place && document.getElementById(place.id);
    const node = holder && holder.querySelectorAll(FOCUSABLE)[place.at];
    if (node) node.focus({ preventScroll: true });
  }

  // The texts of `from` in the elements of `into`, where both have the same.
  function sync(into, from) {
    if (into.nodeName !== from.nodeName ||
        into.childNodes.length !== from.childNodes.length) {
      into.replaceWith(from);
    } else if (into.nodeType === Node.TEXT_NODE) {
      if (into.data !== from.data) into.data = from.data;
    } else {
      [...from.childNodes].forEach((child, i) =>
        sync(into.childNodes[i], child));
    }
  }

  function refresh() {
    if (document.hidden) {
      FIGURES.forEach((one) => stale.add(one));
      say();
      return;
    }
    for (const run of RUNS) {
      const made = overview(run);
      sync(document.getElementById(made.id), made);
    }
    if (RUNS.length > 1) {
      sync(document.querySelector("#loss > .scroll"), comparison());
    } else {
      document.querySelector(".headline p").textContent = stateOf(RUNS[0]);
    }
    for (const figure of FIGURES) {
      eye.observe(figure.holder);
      if (pressed || !inSight(figure.holder)) stale.add(figure);
      else draw(figure);
    }
    say();
  }

  function inSight(holder) {
    const box = holder.getBoundingClientRect();
    return box.bottom > -200 && box.top < window.innerHeight + 200;
  }

  // In its place, with what the pointer is at and the focus.
  function draw(figure) {
    stale.delete(figure);
    const { chart, holder, details } = figure;
    const shown = figure.says.classList.contains("shown");
    if (shown && !chart) {
      stale.add(figure);  // it would hide what is being read
      return;
    }
    const focused = placeOf(document.activeElement);
    const table = details.querySelector(".scroll");
    const scrolled = table && [table.scrollLeft, table.scrollTop];
    figure.redraw();
    if (shown) chart.show(chart.at);
    if (scrolled) details.querySelector(".scroll").scrollTo(...scrolled);
    if (focused && focused.id === figure.spec.id &&
        !holder.contains(document.activeElement)) {
      focusOn(focused);
    }
  }

  const eye = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const figure = FIGURES.find((one) => one.holder === target);
      if (isIntersecting && figure && stale.has(figure)) draw(figure);
    }
  }, { rootMargin: "200px" });

  function wait() {
    document.getElementById("top").replaceChildren(
      element("div", { class: "headline" }, element("h1", {}, "Annuli")), state);
    document.getElementById("content").replaceChildren(
      ...DATA.live.waiting.map((one) => element("p", { class: "none" },
        `${one.folder}: waiting for its first step` +
        `${one.trouble ? ` (${one.trouble})` : ""}.`)));
    document.title = "waiting - Annuli";
    say();
  }

  // The title and the line below it, which is read aloud when it changes.
  function say(trouble) {
    const one = (run) => run.status.words === "" ? null
      : `${run.status.words}${RUNS.length > 1 ? ` (${runName(run)})` : ""}`;
    const words = RUNS.map(one).filter((text) => text !== null).join("; ");
    const alert = trouble || RUNS.some((run) => run.status.alert);
    const all = [trouble, words].filter(Boolean).join(", ");
    if (RUNS.length > 0) {
      document.title = all === "" ? `${title()} \u00b7 Annuli`
        : `${alert ? "(!) " : ""}${all} - ${title()}`;
    }
    const waiting = RUNS.length > 0 && DATA.live.waiting.length > 0
      ? ` Waiting for the first step of ${DATA.live.waiting
        .map((run) => run.folder).join(", ")}.` : "";
    const reasons = RUNS.map((run) => run.status.trouble).filter(Boolean);
    const text = (trouble ? `Not live: ${trouble}.`
      : all === "" ? "Live." : `Live: ${all}.`) + waiting +
      reasons.map((reason) => ` ${reason}.`).join("");
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("alert", Boolean(alert));
  }

  // More steps between the ends of a zoom, where the history has them.
  async function detail(run, from, to) {
    const number = RUNS.indexOf(run);
    const coarse = run.coarse || run.steps;
    const xs = coarse[choice.axis];
    const first = Math.max(d3.bisectRight(xs, from) - 1, 0);
    const last = Math.min(d3.bisectLeft(xs, to), xs.length - 1);
    const [a, b] = [coarse.index[first], coarse.index[last]];
    if (b - a === last - first) return false;  // all are there
    const more = await ask(`steps?run=${number}&from=${a}&to=${b}`);
    if (RUNS[number] !== run) return false;
    // What has come meanwhile stands behind.
    const now = run.coarse || run.steps;
    run.coarse = now;
    run.steps = { count: now.count };
    for (const [key, values] of Object.entries(now)) {
      if (!Array.isArray(values)) continue;
      run.steps[key] = [...values.slice(0, first),
        ...more[key] || new Array(more.index.length).fill(null),
        ...values.slice(last + 1)];
    }
    return true;
  }

  function whole(run) {
    const had = run.coarse !== undefined;
    if (had) run.steps = run.coarse;
    delete run.coarse;
    return had;
  }

  // Called when the reader has zoomed a chart along the axis, or out of it.
  async function zoomed(domain) {
    try {
      const changed = await Promise.all(RUNS.map((run) => domain === null
        ? whole(run) : run.steps[choice.axis] && detail(run, ...domain)));
      if (changed.some(Boolean)) {
        FIGURES.forEach((one) => (inSight(one.holder) ? draw(one)
          : stale.add(one)));
      }
    } catch {
      // The server is gone, as the line on top says; the chart stays.
    }
  }

  // Tries again after a while.
  function lose(words, after) {
    source.close();
    say(words);
    clearTimeout(timer);
    timer = setTimeout(listen, after);
  }

  function lost() {
    lose("the server does not answer", pause);
    pause = Math.min(2 * pause, 10000);
  }

  function listen() {
    source = new EventSource(`events?server=${server}&revision=${revision}`);
    source.onopen = () => { pause = 1000; say(); };
    source.onerror = lost;
    source.addEventListener("update", onUpdate);
    source.addEventListener("anew", (event) => {
      newest = Number(event.data);
      fetchAll();
    });
    // Another may take its place.
    source.addEventListener("end", () => lose("the server has ended", 10000));
  }

  function begin() {
    state.setAttribute("role", "status");
    state.setAttribute("aria-live", "polite");
    state.id = "live";
    for (const name of ["pointerdown", "pointermove", "pointerup",
      "pointercancel"]) {
      addEventListener(name, (event) => {
        pressed = event.buttons !== 0 && name !== "pointercancel";
      }, true);
    }
    document.addEventListener("zoomed", (event) => zoomed(event.detail));
    addEventListener("visibilitychange", () => {
      if (!document.hidden && RUNS.length > 0) refresh();
    });
    addEventListener("beforeprint", () => stale.forEach(draw));
    if (RUNS.length === 0) {
      wait();
    } else {
      document.getElementById("top").append(state);
      FIGURES.forEach((one) => eye.observe(one.holder));
      say();
    }
    listen();
  }

  begin();
})();
