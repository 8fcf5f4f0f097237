"use strict";
// One page for several targets: `data.profiles` holds what the profile says, with its events as columns.
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = { tensor: "#0072B2", vector: "#E69F00", scalar: "#009E73", gpsimd: "#CC79A7", sync: "#777777", dma: "#56B4E9" };
const TRANSPOSE = "#D55E00";
const byId = (id) => document.getElementById(id);
let shown = 0;

// ---- text ---------------------------------------------------------------------------------------------------------

const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
function scaled(value, unit) {
  if (value === null || value === undefined) return "–";
  for (const [factor, prefix] of PREFIXES) if (Math.abs(value) >= factor) return (value / factor).toPrecision(3) + " " + prefix + unit;
  return value.toPrecision(3) + " " + unit;
}
function time(seconds) {
  const us = seconds * 1e6;
  return us >= 1000 ? (us / 1000).toFixed(2) + " ms" : us >= 1 ? us.toFixed(2) + " µs" : (us * 1000).toFixed(0) + " ns";
}
const percent = (value) => value.toFixed(1) + " %";
const short = (line) => line.split(/[\\/]/).pop();

function element(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}
function table(id, headings, rows, empty) {
  const target = byId(id);
  target.replaceChildren();
  if (!rows.length) { target.append(element("caption", empty || "nothing to show")); return; }
  const head = element("tr");
  headings.forEach((heading) => head.append(element("th", heading.name, heading.number ? { class: "number" } : {})));
  target.append(head);
  for (const row of rows) {
    const line = element("tr");
    row.forEach((cell, column) => {
      const made = element("td", undefined, headings[column].number ? { class: "number" } : {});
      if (headings[column].code) made.append(element("code", cell)); else made.textContent = cell;
      line.append(made);
    });
    target.append(line);
  }
}
const words = (...names) => names.map((name) => ({ name }));
const number = (name) => ({ name, number: true });
const code = (name) => ({ name, code: true });

// ---- tables -------------------------------------------------------------------------------------------------------

function fillTables(profile) {
  const [low, central, high] = profile.seconds;
  byId("title").textContent = profile.kernel;
  byId("subtitle").textContent = `${profile.target}, ${profile.instructions.toLocaleString("en")} instructions in ${profile.order} order, bound by ${profile.bounding_resource}`;
  const figures = [["total time", time(central)], ["low to high", `${time(low)} to ${time(high)}`], ["MFU", percent(100 * profile.mfu)],
    ["HBM bandwidth", percent(100 * profile.hbm_share)], ["DMA bandwidth", percent(100 * profile.dma_share)],
    ["FLOP per HBM byte", profile.intensity.HBM === null ? "–" : profile.intensity.HBM.toPrecision(3)]];
  byId("figures").replaceChildren(...figures.map(([name, value]) => {
    const made = element("div", undefined, { class: "figure" });
    made.append(element("b", value), element("span", name));
    return made;
  }));
  table("advice", [...words("what was seen", "what to do"), number("gain at most"), code("lines"), ...words("source")],
    profile.advice.map((row) => [row.found, row.remedy, `${time(row.gain_seconds)} (${percent(row.gain_percent)})`, row.lines.map(short).join(" "), row.source]),
    "No rule found anything worth one percent of the time.");
  table("light", [...words("unit"), number("achieved"), number("peak"), number("% of peak")],
    profile.light.map((row) => row.quantity === "busy" ? [row.unit, percent(row.percent), "busy all the time", percent(row.percent)]
      : [row.unit, scaled(row.achieved, row.quantity), scaled(row.peak, row.quantity), percent(row.percent)]));
  table("idle", [...words("engine"), number("busy"), number("active"), ...words("idle, by reason")],
    Object.entries(profile.idle_seconds).map(([engine, reasons]) => [engine, time(profile.busy_seconds[engine] || 0),
      time(profile.active_seconds[engine] || 0),
      Object.entries(reasons).map(([reason, seconds]) => `${reason} ${time(seconds)}`).join(", ")]));
  table("lines", [code("line"), ...words("instruction"), number("times"), number("time"), number("share")],
    profile.hot_lines.slice(0, 15).map((row) => [short(row.line), row.opcode, String(row.count), time(row.seconds), percent(row.percent)]));
  table("transfers", [number("size from"), number("descriptors"), number("bytes"), ...words("grade"), code("lines")],
    profile.transfers.map((row) => [`${row.low_bytes} B`, row.descriptors.toLocaleString("en"), scaled(row.total_bytes, "B"), row.grade, row.lines.map(short).join(" ")]));
  byId("assumed").textContent = profile.assumed_opcodes.length
    ? `No AWS document prices these here, their cost is assumed: ${profile.assumed_opcodes.join(", ")}.` : "";
}
function fillTargets() {
  const first = data.profiles[0];
  table("targets-table", [...words("target"), number("time"), number("speed-up"), number("MFU"), ...words("bound by")],
    data.profiles.map((row) => [row.target, time(row.seconds[1]), (first.seconds[1] / row.seconds[1]).toFixed(2) + "×", percent(100 * row.mfu), row.bounding_resource]));
  byId("targets").replaceChildren(...data.profiles.map((profile, index) => {
    const button = element("button", profile.target, { role: "tab", "aria-selected": String(index === shown) });
    button.addEventListener("click", () => show(index));
    return button;
  }));
}

// ---- roofline -----------------------------------------------------------------------------------------------------

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
function roofline(profile) {
  const { roofs, peaks, points } = profile.roofline;
  const width = 560, height = 320, left = 64, bottom = 44, right = 12, top = 12;
  const xs = points.map((point) => point.intensity), top_flops = Math.max(...Object.values(peaks));
  const xlow = Math.min(1, ...xs) / 2, xhigh = Math.max(2000, ...xs) * 2;
  const yhigh = top_flops * 2, ylow = Math.min(top_flops / 1e4, ...points.map((point) => point.flops_per_second)) / 2;
  const x = (value) => left + (width - left - right) * Math.log(value / xlow) / Math.log(xhigh / xlow);
  const y = (value) => height - bottom - (height - bottom - top) * Math.log(value / ylow) / Math.log(yhigh / ylow);
  const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Roofline" });
  for (let power = Math.ceil(Math.log10(xlow)); 10 ** power < xhigh; power++) {
    made.append(svg("line", { x1: x(10 ** power), x2: x(10 ** power), y1: top, y2: height - bottom, stroke: "#e3e7ec" }),
      svg("text", { x: x(10 ** power), y: height - bottom + 16, "text-anchor": "middle" }, String(10 ** power)));
  }
  for (let power = Math.ceil(Math.log10(ylow)); 10 ** power < yhigh; power++) {
    made.append(svg("line", { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), stroke: "#e3e7ec" }),
      svg("text", { x: left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, scaled(10 ** power, "").trim()));
  }
  made.append(svg("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, "arithmetic intensity, FLOP per byte"),
    svg("text", { x: 14, y: height / 2, transform: `rotate(-90 14 ${height / 2})`, "text-anchor": "middle" }, "FLOP/s"));
  Object.entries(roofs).forEach(([name, rate], index) => {
    const end = Math.min(xhigh, yhigh / rate), start = Math.max(xlow, ylow / rate);
    made.append(svg("line", { x1: x(start), y1: y(start * rate), x2: x(end), y2: y(end * rate), stroke: index ? "#56B4E9" : "#E69F00", "stroke-width": 2 }));
    const at = start * 3;
    made.append(svg("text", { x: x(at), y: y(at * rate) - 6 - 14 * index }, `${name} ${scaled(rate, "B/s")}`));
  });
  Object.entries(peaks).forEach(([name, peak]) => {
    const from = peak / Math.max(...Object.values(roofs));
    made.append(svg("line", { x1: x(Math.max(from, xlow)), y1: y(peak), x2: width - right, y2: y(peak), stroke: "#0072B2", "stroke-width": 2 }),
      svg("text", { x: width - right - 2, y: y(peak) - 4, "text-anchor": "end" }, `${name} ${scaled(peak, "FLOP/s")}`));
  });
  // Points on top of each other share a label.
  const labels = points.map((point) => points.filter((other) => Math.abs(Math.log(other.intensity / point.intensity)) < 0.2));
  for (const [index, point] of points.entries()) {
    const label = labels[index][0] === point ? `per ${labels[index].map((other) => other.memory).join(" or ")} byte` : "";
    const dot = svg("circle", { cx: x(point.intensity), cy: y(point.flops_per_second), r: 5, fill: "#D55E00" });
    dot.append(svg("title", {}, `${point.memory}: ${point.intensity.toPrecision(3)} FLOP/B, ${scaled(point.flops_per_second, "FLOP/s")}`));
    made.append(dot, svg("text", { x: x(point.intensity) + 8, y: y(point.flops_per_second) + 14 }, label));
  }
  byId("roofline").replaceChildren(points.length ? made : element("p", "The kernel multiplies nothing, so it has no point here."));
}

// ---- timeline -----------------------------------------------------------------------------------------------------

const canvas = byId("timeline"), tip = byId("tip");
const LEFT = 92, ROW = 30, GAP = 8, CURVE = 70, AXIS = 24;
let view = [0, 1];
const events = () => data.profiles[shown].events;
const rows = () => events().rows;

function layout() {
  const height = AXIS + rows().length * (ROW + GAP) + CURVE + 16;
  canvas.height = height * devicePixelRatio;
  canvas.style.height = height + "px";
  canvas.width = canvas.clientWidth * devicePixelRatio;
}
const span = () => data.profiles[shown].seconds[1] * 1e9;
const toX = (ns) => LEFT + (ns - view[0]) / (view[1] - view[0]) * (canvas.clientWidth - LEFT - 8);
const toTime = (px) => view[0] + (px - LEFT) / (canvas.clientWidth - LEFT - 8) * (view[1] - view[0]);

function ticks(context, height) {
  const step = 10 ** Math.floor(Math.log10((view[1] - view[0]) / 4));
  const pitch = [1, 2, 5, 10].map((m) => m * step).find((p) => (view[1] - view[0]) / p <= 10);
  context.fillStyle = "#5b6470"; context.strokeStyle = "#e3e7ec"; context.textAlign = "center";
  for (let at = Math.ceil(view[0] / pitch) * pitch; at <= view[1]; at += pitch) {
    const px = toX(at);
    context.beginPath(); context.moveTo(px, AXIS); context.lineTo(px, height); context.stroke();
    context.fillText(pitch >= 1000 ? `${+(at / 1000).toFixed(2)} µs` : `${+(at / 1000).toFixed(4)} µs`, px, 14);
  }
}
function draw() {
  const context = canvas.getContext("2d"), height = canvas.height / devicePixelRatio;
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, height);
  context.font = "12px system-ui, sans-serif";
  ticks(context, height);
  rows().forEach((row, index) => {
    const top = AXIS + index * (ROW + GAP);
    context.fillStyle = "#1b1f24"; context.textAlign = "left"; context.fillText(row.name, 4, top + ROW / 2 + 4);
    drawRow(context, row, top);
  });
  drawCurves(context, AXIS + rows().length * (ROW + GAP) + 6);
}
function drawRow(context, row, top) {
  // Events narrower than a pixel merge with those painted there before, so long programs stay quick.
  let painted = -1;
  const { start, end, kind } = row;
  for (let i = firstAfter(row, view[0]); i < start.length && start[i] <= view[1]; i++) {
    const a = Math.max(toX(start[i]), LEFT), b = Math.max(toX(end[i]), a + 0.6);
    if (b <= painted) continue;
    context.fillStyle = kind[i] ? TRANSPOSE : COLOURS[row.engine];
    context.fillRect(a, top, Math.min(b, canvas.clientWidth - 8) - a, ROW);
    painted = Math.max(painted, Math.floor(b * 2) / 2);
    if (b - a > 70) {
      context.fillStyle = "#fff"; context.textAlign = "left";
      context.save(); context.beginPath(); context.rect(a, top, b - a, ROW); context.clip();
      context.fillText(events().opcodes[row.opcode[i]], a + 4, top + ROW / 2 + 4); context.restore();
    }
  }
}
function firstAfter(row, ns) {
  let low = 0, high = row.reach.length;
  while (low < high) { const middle = (low + high) >> 1; if (row.reach[middle] < ns) low = middle + 1; else high = middle; }
  return low;
}
function drawCurves(context, top) {
  data.profiles[shown].memory.forEach((curve, index) => {
    context.strokeStyle = index ? "#D55E00" : "#0072B2"; context.lineWidth = 1.5;
    context.setLineDash(index ? [5, 3] : []);
    context.beginPath();
    let level = 0;
    curve.times_ns.forEach((at, i) => {
      const px = Math.min(Math.max(toX(at), LEFT), canvas.clientWidth - 8);
      const py = (bytes) => top + CURVE - CURVE * bytes / curve.capacity_bytes;
      if (i === 0) context.moveTo(px, py(0)); else context.lineTo(px, py(level));
      context.lineTo(px, py(curve.used_bytes[i])); level = curve.used_bytes[i];
    });
    context.stroke();
    context.fillStyle = context.strokeStyle; context.textAlign = "left";
    context.fillText(`${curve.memory.toUpperCase()} ${Math.round(100 * curve.peak_bytes / curve.capacity_bytes)} %`, 4, top + 16 + 18 * index);
  });
  context.setLineDash([]); context.lineWidth = 1;
}
function hover(event) {
  const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  const index = Math.floor((py - AXIS) / (ROW + GAP)), row = rows()[index];
  tip.style.display = "none";
  if (!row || px < LEFT) return;
  const at = toTime(px), near = 2 * (view[1] - view[0]) / canvas.clientWidth;
  for (let i = firstAfter(row, at - near); i < row.start.length && row.start[i] <= at + near; i++) {
    if (row.end[i] + near < at) continue;
    tip.textContent = `${events().opcodes[row.opcode[i]]}  #${row.step[i]}\n${time(row.start[i] * 1e-9)} to ${time(row.end[i] * 1e-9)}, takes ${time((row.end[i] - row.start[i]) * 1e-9)}\nwaited for: ${events().waits[row.wait[i]]}\n${events().lines[row.line[i]]}`;
    tip.style.display = "block";
    tip.style.left = Math.min(px + 14, canvas.clientWidth - 300) + "px";
    tip.style.top = py + 16 + "px";
    return;
  }
}
function zoom(centre, factor) {
  const low = Math.max(0, centre - (centre - view[0]) * factor), high = Math.min(span(), centre + (view[1] - centre) * factor);
  if (high - low > 1) { view = [low, high]; draw(); }
}
function pan(by) {
  const moved = Math.min(Math.max(by, -view[0]), span() - view[1]);
  view = [view[0] + moved, view[1] + moved]; draw();
}
let dragged = null;
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(toTime(event.offsetX), event.deltaY > 0 ? 1.25 : 0.8); }, { passive: false });
canvas.addEventListener("mousedown", (event) => { dragged = event.clientX; });
addEventListener("mouseup", () => { dragged = null; });
canvas.addEventListener("mousemove", (event) => {
  if (dragged === null) { hover(event); return; }
  pan((dragged - event.clientX) / (canvas.clientWidth - LEFT - 8) * (view[1] - view[0])); dragged = event.clientX;
});
canvas.addEventListener("mouseleave", () => { tip.style.display = "none"; });
canvas.addEventListener("dblclick", () => { view = [0, span()]; draw(); });
const KEYS = { "+": () => zoom((view[0] + view[1]) / 2, 0.8), "-": () => zoom((view[0] + view[1]) / 2, 1.25),
  ArrowLeft: () => pan(-(view[1] - view[0]) / 8), ArrowRight: () => pan((view[1] - view[0]) / 8) };
canvas.addEventListener("keydown", (event) => { if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); } });
addEventListener("resize", () => { layout(); draw(); });

function show(index) {
  shown = index;
  const profile = data.profiles[index];
  fillTargets(); fillTables(profile); roofline(profile);
  view = [0, span()];
  layout(); draw();
}
for (const profile of data.profiles) for (const row of profile.events.rows) {
  let reached = 0;
  row.reach = row.end.map((end) => (reached = Math.max(reached, end)));
}
// For tests and for the curious: what the page shows now.
window.trnlab = { view: () => [...view], shown: () => shown, data };
show(0);
