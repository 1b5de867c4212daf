// Numbers for people, as the program's own tables write them.

const MINUS = "\u2212";

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// 63.5 M, 1.17 B, 512
function count(n) {
  if (!isNumber(n)) return "-";
  for (const [size, unit] of [[1e15, "P"], [1e12, "T"], [1e9, "B"], [1e6, "M"],
    [1e3, "K"]]) {
    if (n >= size) return `${trim(n / size)} ${unit}`;
  }
  return trim(n);
}

function trim(n) {
  return String(Number(n.toPrecision(4)));
}

function bytes(n) {
  if (!isNumber(n)) return "-";
  for (const [size, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"],
    [1e3, "kB"]]) {
    if (n >= size) return `${trim(n / size)} ${unit}`;
  }
  return n === 0 ? "0" : `${trim(n)} bytes`;
}

function duration(s) {
  if (!isNumber(s)) return "-";
  if (s < 120) return `${trim(s)} s`;
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)} min`;
  return `${Math.floor(s / 3600)}:${two(s / 60 % 60)}:${two(s % 60)} h`;
}

// Four digits, as a power of ten where it is very small or large.
function digits(n) {
  if (!isNumber(n)) return "-";
  if (n === 0) return "0";
  const size = Math.abs(n);
  const text = size >= 1e-3 && size < 1e6 ? trim(n) : power(n);
  return text.replaceAll("-", MINUS);
}

// 1.07e-8
function power(n) {
  return n.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
}

function loss(n) {
  return isNumber(n) ? (Math.abs(n) < 1e4 ? n.toFixed(4) : digits(n)) : "-";
}

// +1.07e-8
function change(n) {
  if (!isNumber(n)) return "-";
  return (n > 0 ? "+" : "") + digits(n);
}

// 4 x 64, 4 heads, ffn 256, 8 experts top-2
function shapeWords(shape) {
  if (!shape) return "-";
  const mixture = shape.experts
    ? `, ${shape.experts} experts top-${shape.experts_per_token}` : "";
  return `${shape.layers} \u00d7 ${shape.hidden_size}, ${shape.heads} heads, ` +
    `ffn ${shape.ffn}${mixture}`;
}

// num_experts 8, router random
function argumentWords(given) {
  if (typeof given !== "object" || given === null) return String(given ?? "");
  return Object.entries(given).filter(([, value]) => value !== null &&
    !(Array.isArray(value) && value.length === 0))
    .map(([key, value]) => `${key} ${typeof value === "object"
      ? JSON.stringify(value) : value}`).join(", ");
}

// The text, cut to a width in pixels at a size of letters, or nothing if that
// leaves too little.
const fitting = (() => {
  const pen = document.createElement("canvas").getContext("2d");
  return (text, width, size, weight = "") => {
    pen.font = `${weight} ${size}px system-ui, "Noto Sans", "DejaVu Sans", ` +
      "sans-serif";
    const whole = pen.measureText(text).width;
    if (whole <= width) return text;
    const most = Math.floor(text.length * width / whole) - 2;
    return most < 3 ? "" : text.slice(0, most) + "\u2026";
  };
})();

function short(hash) {
  return hash ? hash.slice(0, 12) : "at random";
}

// 1,000,000
function whole(n) {
  return n.toLocaleString("en");
}

function plural(n, word) {
  return `${whole(n)} ${word}${n === 1 ? "" : "s"}`;
}

// The axes along which a run is drawn.
const AXES = {
  tokens: { label: "tokens", format: count, short: "Tokens",
    said: (x) => `${count(x)} tokens` },
  flops: { label: "FLOPs of training", format: count, short: "FLOPs",
    said: (x) => `${count(x)} FLOPs of training` },
  seconds: { label: "time of training, growth and proofs", format: duration,
    short: "Seconds",
    said: (x) => `${duration(x)} of training, growth and proofs` },
  index: { label: "steps", format: count, short: "Steps",
    said: (x) => `step ${whole(x)} of all` },
};

// A run's name: that of its plan, or where runs must be told apart that of its
// folder, or its whole path.
function runName(run) {
  const last = (one) => one.folder.split("/").filter(Boolean).pop();
  for (const name of [(one) => one.plan ? one.plan.name : last(one), last]) {
    const same = RUNS.filter((other) => name(other) === name(run));
    if (same.length === 1) return name(run);
  }
  return run.folder;
}
