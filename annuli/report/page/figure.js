// The frame of every chart: heading, legend, drawing, what the pointer is at,
// the same figures as a table, and both to take away.

const FIGURES = [];

// `spec`: id, title, note; height; draw(svg, width, height, figure); columns
// (names) and rows() of the table, cells as numbers or texts; legend() as
// [{label, colour, dash}]; controls, an element or nothing.
class Figure {
  constructor(spec) {
    this.spec = spec;
    this.holder = element("div", { class: "drawing" });
    this.legend = element("ul", { class: "legend" });
    this.says = element("div", { class: "says", role: "status" });
    this.holder.append(this.says);
    this.node = element("figure", { id: spec.id, class: "figure" },
      element("figcaption", {}, element("h3", {}, spec.title,
        spec.y && spec.y.label
          ? element("span", { class: "unit" }, spec.y.label) : ""),
        spec.note ? element("p", { class: "note" }, spec.note) : null),
      spec.controls || null, this.legend, this.holder, this.tools());
    this.width = 0;
    new ResizeObserver(() => {
      if (Math.abs(this.holder.clientWidth - this.width) > 1) this.redraw();
    }).observe(this.holder);
    FIGURES.push(this);
  }

  redraw() {
    const width = this.holder.clientWidth;
    if (width === 0) return;
    this.width = width;
    d3.select(this.holder).selectAll("svg").remove();
    this.hide();
    const height = typeof this.spec.height === "function"
      ? this.spec.height(width) : this.spec.height;
    const svg = d3.select(this.holder).append("svg")
      .attr("width", width).attr("height", height)
      .attr("viewBox", `0 0 ${width} ${height}`)
      .attr("role", "img").attr("tabindex", 0)
      .attr("aria-label",
        `${this.spec.title}. The table below has the figures.`);
    this.spec.draw(svg, width, height, this);
    if (performance.getEntriesByName("first-chart").length === 0) {
      performance.mark("first-chart");
    }
    this.legend.replaceChildren(...(this.spec.legend ? this.spec.legend() : [])
      .map((entry) => element("li", {}, sample(entry), entry.label)));
    if (this.details.open) this.fillTable();
  }

  // Shows lines of text beside the place (x, y) of the drawing.
  say(x, y, lines) {
    this.says.replaceChildren(...lines.map((line) => element("div", {
      class: line.head ? "head" : null },
    line.colour ? sample(line) : "", line.text)));
    this.says.classList.add("shown");
    const room = this.width - this.says.offsetWidth;
    const right = x + 14 < room ? x + 14 : x - this.says.offsetWidth - 14;
    this.says.style.left = `${Math.max(0, Math.min(right, room))}px`;
    this.says.style.top = `${Math.max(0, y)}px`;
  }

  hide() {
    this.says.classList.remove("shown");
    this.says.replaceChildren();
  }

  tools() {
    this.details = element("details", { ontoggle: () => this.fillTable() },
      element("summary", {}, "Table"));
    return element("div", { class: "tools" },
      element("button", { type: "button", class: "plain",
        "aria-label": `Download ${this.spec.title} as SVG`,
        onclick: () => save(`${this.spec.id}.svg`, "image/svg+xml",
          svgText(this.holder.querySelector("svg"))) }, "SVG"),
      element("button", { type: "button", class: "plain",
        "aria-label": `Download ${this.spec.title} as CSV`,
        onclick: () => save(`${this.spec.id}.csv`, "text/csv", this.csv()) },
      "CSV"), this.details);
  }

  fillTable() {
    const most = 500;
    const all = this.spec.rows();
    const stride = Math.ceil(all.length / most);
    const rows = all.filter((_, i) => i % stride === 0);
    const cell = (value) =>
      isNumber(value) ? digits(value) : String(value ?? "-");
    const title = stride === 1 ? this.spec.title
      : `${this.spec.title}: every ${stride}th row; all are in the CSV`;
    this.details.replaceChildren(this.details.firstChild,
      table(title, this.spec.columns, rows.map((row) => row.map(cell)),
        (i) => rows.length > 0 && isNumber(rows[0][i])));
  }

  csv() {
    return [this.spec.columns, ...this.spec.rows()]
      .map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
  }
}

// A text that a spreadsheet would take for a formula gets an apostrophe.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (isNumber(value)) return String(value);
  const text = String(value).replace(/^(?=[=+\-@\t\r])/, "'");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A piece of a line, or a square, for legends.
function sample(entry) {
  const svg = d3.create("svg").attr("width", 20).attr("height", 10)
    .attr("aria-hidden", "true");
  if (entry.mark === "dot") {
    svg.append("circle").attr("cx", 10).attr("cy", 5).attr("r", 3.5)
      .style("fill", "var(--paper)").style("stroke", entry.colour)
      .style("stroke-width", 2);
  } else if (entry.mark === "square") {
    svg.append("rect").attr("x", 5).attr("width", 10).attr("height", 10)
      .style("fill", entry.colour);
  } else {
    svg.append("line").attr("x2", 20).attr("y1", 5).attr("y2", 5)
      .style("stroke", entry.colour)
      .style("stroke-width", entry.faint ? 1 : 2.5)
      .style("stroke-dasharray", entry.dash || null)
      .style("opacity", entry.faint ? 0.6 : 1);
  }
  return svg.node();
}

// The drawing by itself: styles that it has from the page are written into it.
function svgText(svg) {
  const copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")];
  const to = [copy, ...copy.querySelectorAll("*")];
  for (let i = 0; i < from.length; ++i) {
    const style = getComputedStyle(from[i]);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray",
      "opacity", "fill-opacity", "font-family", "font-size", "font-weight",
      "text-anchor", "image-rendering", "display"]) {
      to[i].style.setProperty(name, style.getPropertyValue(name));
    }
  }
  copy.style.setProperty("background",
    getComputedStyle(document.body).backgroundColor);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
}

function save(name, type, text) {
  const link = element("a", { download: name,
    href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
