// Puts the page together.

// Sections about one run; chosen above them where there are several.
function details(run) {
  return [growthSection(run), ratesSection(run), expertsSection(run),
    partingSection(run), depthSection(run), costSection(run), verdictsSection(run),
    samplesSection(run)];
}

function contents(sections) {
  return element("nav", { "aria-label": "Sections" },
    ...sections.map((one) => element("a", { href: `#${one.id}` },
      one.querySelector("h2").textContent)));
}

function fillDetails(holder) {
  for (const node of holder.querySelectorAll("figure")) {
    const place = FIGURES.findIndex((one) => one.node === node);
    FIGURES.splice(place, 1);
  }
  holder.replaceChildren(...details(RUNS[choice.run]));
}

function footer() {
  const versions = Object.entries(DATA.versions)
    .map(([name, version]) => `${name} ${version}`).join(", ");
  document.getElementById("bottom").append(element("p", {},
    (DATA.live ? `Served by annuli watch (${versions}), which it asks for ` +
      "what is new and nothing else. "
      : `Made by annuli report (${versions}). This file asks for nothing ` +
        "from a network. ") + "Charts by D3, \u00a9 2010\u20132022 Mike Bostock and others, " +
    "under the BSD 3-Clause and ISC licences (d3js.org)."));
}

function main() {
  document.title = `${title()} \u00b7 Annuli`;
  headOfPage();
  const content = document.getElementById("content");
  const holder = element("div", { id: "details" });
  const first = RUNS.map(overview);
  content.replaceChildren();
  const parts = [...RUNS.length === 1 ? first : [], lossSection(),
    ...RUNS.length === 1 ? [] : first];
  content.append(...parts);
  if (RUNS.length > 1) {
    content.append(element("div", { class: "whose" },
      element("h2", {}, "One run"), choices("Run that is shown below",
        RUNS.map((run, i) => [i, runName(run)]), () => choice.run, (run) => {
          choice.run = run;
          fillDetails(holder);
        })));
  }
  fillDetails(holder);
  content.append(holder, lineageSection());
  content.prepend(contents([...content.querySelectorAll("section")]));
  footer();
}

if (RUNS.length > 0) main();  // a served page may wait for a first step
const redrawAll = () => FIGURES.forEach((one) => one.redraw());
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", redrawAll);
}
