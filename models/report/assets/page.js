"use strict";
// Draws every figure from the data in the page, and redraws it when one of its controls moves.
const figures = JSON.parse(document.getElementById("data").textContent);
const OPTIONS = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };

function traces(figure, positions) {
  return structuredClone(figure.states[positions.join(",")]);
}

function control(figure, spec, index, positions, redraw) {
  const label = document.createElement("label");
  label.append(spec.name);
  const slider = spec.kind === "slider";
  const input = document.createElement(slider ? "input" : "select");
  const shown = document.createElement("output");
  if (slider) {
    Object.assign(input, { type: "range", min: 0, max: spec.options.length - 1, step: 1 });
  } else {
    spec.options.forEach((text, value) => input.append(new Option(text, value)));
  }
  input.value = spec.default;
  input.id = `${figure.key}-${index}`;
  shown.textContent = spec.options[spec.default];
  input.addEventListener("input", () => {
    positions[index] = Number(input.value);
    shown.textContent = spec.options[positions[index]];
    redraw();
  });
  label.append(input);
  if (slider) label.append(shown);
  return label;
}

function draw(figure) {
  const plot = document.getElementById(`plot-${figure.key}`);
  const holder = document.getElementById(`controls-${figure.key}`);
  plot.style.height = `${figure.layout.height}px`;
  const positions = figure.controls.map((spec) => spec.default);
  const redraw = (size = {}) =>
    Plotly.react(plot, traces(figure, positions), { ...structuredClone(figure.layout), ...size }, OPTIONS);
  redraws.push(redraw);
  figure.controls.forEach((spec, index) => holder.append(control(figure, spec, index, positions, redraw)));
  return redraw();
}

function filterRows(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("#provenance tbody tr")) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
  }
  if (words.length) document.querySelector("#provenance details").open = true;
}

document.getElementById("filter").addEventListener("input", (event) => filterRows(event.target.value));
// On paper every table is open and the plots are as wide as a landscape page; afterwards all is as it was.
const PAPER_WIDTH = 1000;
const redraws = [];
let folded = [];

function beforePrint() {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const fold of folded) fold.open = true;
  for (const redraw of redraws) redraw({ width: PAPER_WIDTH });
}

function afterPrint() {
  for (const fold of folded) fold.open = false;
  // plotly keeps the last width until it is told to take that of its place again.
  for (const redraw of redraws) redraw();
  for (const plot of document.querySelectorAll(".plot")) Plotly.relayout(plot, { width: null, autosize: true });
}

window.addEventListener("beforeprint", beforePrint);
window.addEventListener("afterprint", afterPrint);
window.drawn = Promise.all(figures.map(draw));
