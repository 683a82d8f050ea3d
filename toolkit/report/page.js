// Shows the values of a chart at the pointer, or with the arrow keys. The page also works without it.
"use strict";

for (const chart of document.querySelectorAll("svg.chart")) {
  const groups = [...chart.querySelectorAll(".series[data-points]")].reverse();
  const series = groups
    .map((group) => ({
      name: group.dataset.name,
      style: group.getAttribute("class"),
      points: JSON.parse(group.dataset.points),
    }))
    .filter((one) => one.points.length);
  if (series.length) readOut(chart, series);
}

function readOut(chart, series) {
  const { width, height } = chart.viewBox.baseVal;
  const box = document.createElement("div");
  box.className = "readout";
  box.hidden = true;
  box.setAttribute("role", "status");
  chart.after(box);
  const layer = chart.appendChild(svgElement("g", {}));
  chart.setAttribute("tabindex", "0");
  let at = null;

  function show(x) {
    at = x;
    layer.replaceChildren();
    box.replaceChildren();
    for (const { name, style, points } of series) {
      const [px, py, text] = nearest(points, x);
      layer.append(svgElement("circle", { class: "ring", cx: px, cy: py, r: 6 }));
      const line = document.createElement("div");
      line.className = style;
      const title = document.createElement("b");
      title.textContent = series.length > 1 ? name + " " : "";
      const value = document.createElement("span");
      value.textContent = text;
      line.append(title, value);
      box.append(line);
    }
    layer.append(svgElement("line", { class: "cursor", x1: x, x2: x, y1: 12, y2: height - 48 }));
    box.hidden = false;
  }

  function hide() {
    at = null;
    layer.replaceChildren();
    box.hidden = true;
  }

  function follow(event) {
    const { left, width: shown } = chart.getBoundingClientRect();
    show(((event.clientX - left) / shown) * width);
  }

  chart.addEventListener("pointermove", follow);
  chart.addEventListener("pointerdown", follow);
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const stops = [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))];
    stops.sort((a, b) => a - b);
    if (event.key === "Escape") return hide();
    if (event.key === "ArrowRight") show(stops.find((x) => at === null || x > at) ?? stops.at(-1));
    else if (event.key === "ArrowLeft") show(stops.findLast((x) => at === null || x < at) ?? stops[0]);
    else return;
    event.preventDefault();
  });
}

function nearest(points, x) {
  return points.reduce((best, one) => (Math.abs(one[0] - x) < Math.abs(best[0] - x) ? one : best));
}

function svgElement(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
