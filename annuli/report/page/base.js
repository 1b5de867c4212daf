"use strict";
// What all other scripts use: the data, elements, and what is chosen now.
// Texts of the data become text nodes or attributes, never markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;

// What the reader has chosen; `changed` redraws what depends on it.
const choice = { run: 0, axis: "tokens", log: false, raw: true, smooth: true };

// An element: attributes by name, listeners by "onclick" and the like, children
// as elements or texts.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) {
      made.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// A part of the page with its heading; `lead` is a sentence or nothing.
function section(id, title, lead) {
  const made = element("section", { id, "aria-labelledby": id + "-title" },
    element("h2", { id: id + "-title" }, title));
  if (lead) made.append(element("p", { class: "lead" }, lead));
  return made;
}

// In place of a chart for which a run has no data.
function notRecorded(what) {
  return element("p", { class: "none" }, what);
}

// A table with a heading row; the cells of `numeric` columns stand right.
function table(caption, heads, rows, numeric) {
  const align = (i) => (numeric && numeric(i) ? "number" : null);
  const cell = (content, i) => i === 0
    ? element("th", { scope: "row" }, content)
    : element("td", { class: align(i) }, content);
  return element("div", { class: "scroll", tabindex: 0, role: "region",
    "aria-label": caption },
  element("table", {}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head, i) =>
      element("th", { scope: "col", class: align(i) }, head)))),
    element("tbody", {}, ...rows.map((row) =>
      element("tr", {}, ...row.map(cell))))));
}

// Buttons of which one is pressed.
function choices(label, options, current, choose) {
  const group = element("div", { class: "choices", role: "group",
    "aria-label": label });
  for (const [value, text] of options) {
    group.append(element("button", { type: "button",
      "aria-pressed": String(value === current()), "data-value": String(value),
      onclick: () => {
        choose(value);
        for (const button of group.children) {
          button.setAttribute("aria-pressed",
            String(button.dataset.value === String(current())));
        }
      } }, text));
  }
  return group;
}

function check(label, current, choose) {
  const box = element("input", { type: "checkbox",
    onchange: () => choose(box.checked) });
  box.checked = current;
  return element("label", { class: "check" }, box, label);
}

// The colour of a run's or a series' line, as a style sheet has it.
function colourOf(number) {
  return `var(--series-${number % 6 + 1})`;
}
