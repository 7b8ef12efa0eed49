"use strict";
// The kinds of figures: points with lines, stacked bars that lie, and bars side by side.

const NARROW = 640;

// Of families that a click hides, on all charts.
const hidden = new Set();

function frame(holder, height) {
  const root = shape("svg", { width: holder.clientWidth, height, role: "img", "aria-label": holder.dataset.label });
  holder.replaceChildren(root);
  return root;
}

// Room for the ticks of y at the left, and for half a tick of x at the right.
function areaOf(root, width, height, texts) {
  const left = Math.max(...texts.map((text) => textWidth(root, text))) + 12;
  return { left, right: width - 12, top: 28, bottom: height - 46, spare: 12 };
}

function points(holder, figure) {
  const width = holder.clientWidth, small = width < NARROW;
  const height = small ? 400 : 480;
  const root = frame(holder, height);
  const shown = figure.series.filter((one) => !hidden.has(one.family));
  const series = shown.length ? shown : figure.series;
  const [xs, ys] = [series.flatMap((one) => one.xs), series.flatMap((one) => one.ys)];
  const inRange = (one, place) => !figure.x.range || one.xs[place] >= figure.x.range[0];
  const seen = series.flatMap((one) => one.ys.filter((_, place) => inRange(one, place)));
  const high = axis(figure.y, seen.length ? seen : ys, height - 46, 28, small ? 6 : 8);
  const area = areaOf(root, width, height, high.ticks.map(high.text));
  const across = axis(figure.x, xs, area.left, area.right, small ? 6 : 12);
  drawAxes(root, across, high, area, { x: figure.x.title, y: figure.y.title });
  const spots = [], named = [], taken = [];
  for (const one of series) {
    const places = one.xs.map((_, place) => place).filter((place) => inRange(one, place));
    const at = places.map((place) => [round(across.at(one.xs[place])), round(high.at(one.ys[place]))]);
    const group = shape("g", { class: `series tone-${one.tone}${one.strong ? " strong" : ""}` });
    if (one.line && at.length > 1) {
      group.append(shape("path", { class: "line", d: `M${at.map((spot) => spot.join(",")).join("L")}` }));
    }
    at.forEach(([x, y], order) => {
      const place = places[order];
      const lines = one.tips?.[place] ?? [
        one.label, `${figure.x.title}: ${one.xs[place].toLocaleString("en")}`,
        `${figure.y.title}: ${one.ys[place].toLocaleString("en")}`];
      spots.push({ x, y, lines, group });
      if (!one.dots) return;
      group.append(shape("circle", { class: "dot", cx: x, cy: y, r: one.strong ? 4.5 : 4 }));
      taken.push({ left: x - 5, right: x + 5, top: y - 5, bottom: y + 5 });
    });
    root.append(group);
    if (one.dots && at.length) named.push({ text: one.label, spots: [...at].reverse(), tone: one.tone, strong: one.strong });
  }
  // Ours first: of many labels not all have room.
  named.sort((a, b) => Number(b.strong) - Number(a.strong));
  writeLabels(root, named, taken, { left: area.left + 2, right: width, top: area.top - 6, bottom: area.bottom - 2 });
  follow(holder, root, spots, (best) => {
    root.classList.toggle("pointed", best !== null);
    for (const group of root.querySelectorAll(".series")) group.classList.toggle("on", group === best?.group);
  });
}

function stacks(holder, figure) {
  const width = holder.clientWidth, small = width < NARROW;
  const step = small ? 40 : 24, bar = 14, top = 8;
  const height = top + figure.rows.length * step + 46;
  const root = frame(holder, height);
  const totals = figure.rows.map((row) => row.values.reduce((sum, value) => sum + value, 0));
  const told = (value) => `${value.toLocaleString("en", { maximumSignificantDigits: 3 })} ${figure.unit}`;
  const ends = Math.max(...totals.map((value) => textWidth(root, told(value)))) + GAP;
  const names = figure.rows.map((row) => textWidth(root, row.name, `name${row.strong ? " strong" : ""}`));
  const left = small ? 0 : Math.max(...names) + 10;
  const right = width - ends - 4;
  const x = axis({ range: [0, Math.max(...totals) || 1] }, totals, left, right, small ? 4 : 8);
  const bottom = height - 46;
  x.ticks.forEach((tick) => {
    const at = round(x.at(tick));
    const side = tick === 0 ? "start" : "middle";
    root.append(
      shape("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }),
      shape("text", { class: "tick", x: at, y: bottom + 18, "text-anchor": side }, x.text(tick)));
  });
  root.append(shape("text", { class: "title", x: right, y: bottom + 38, "text-anchor": "end" }, figure.x.title));
  const spots = [];
  figure.rows.forEach((row, place) => {
    const y = top + place * step + (small ? 18 : (step - bar) / 2);
    const name = `name${row.strong ? " strong" : ""}`;
    root.append(small ? shape("text", { class: name, x: 0, y: y - 5 }, row.name)
      : shape("text", { class: name, x: left - 10, y: y + 11, "text-anchor": "end" }, row.name));
    let from = 0;
    row.values.forEach((value, part) => {
      if (!value) return;
      const [start, end] = [x.at(from), x.at(from + value)];
      root.append(shape("rect", { class: `step-${figure.parts[part].tone}`, x: round(start), y, width: round(Math.max(0.5, end - start)), height: bar }));
      spots.push({ x: (start + end) / 2, y: y + bar / 2, lines: [row.name, `${figure.parts[part].name}: ${told(value)}`] });
      from += value;
    });
    root.append(shape("text", { class: "value", x: round(x.at(from)) + GAP, y: y + 11 }, told(totals[place])));
  });
  follow(holder, root, spots, () => {});
}

function bars(holder, figure) {
  const width = holder.clientWidth, small = width < NARROW;
  const height = small ? 260 : 300;
  const root = frame(holder, height);
  const count = figure.values[0].length;
  const y = axis({ zero: true, ...figure.y }, figure.values.flat(), height - 46, 28, 5);
  const area = areaOf(root, width, height, y.ticks.map(y.text));
  const slot = (area.right - area.left) / count;
  const x = axis({ range: [0.5, count + 0.5] }, [], area.left, area.right, small ? 6 : 12);
  x.ticks = x.ticks.filter(Number.isInteger);
  drawAxes(root, x, y, area, { x: figure.x.title, y: figure.y.title });
  const spots = [], size = (slot * 0.8) / figure.values.length;
  figure.values.forEach((values, part) => values.forEach((value, place) => {
    const [left, top] = [area.left + place * slot + slot * 0.1 + part * size, y.at(value)];
    root.append(shape("rect", { class: `bar tone-${figure.parts[part].tone}`, x: round(left), y: round(top), width: round(Math.max(0.5, size - 0.5)), height: round(Math.max(0, area.bottom - top)) }));
    const lines = [`subspace ${place + 1}, ${figure.parts[part].name}`, value.toLocaleString("en", { maximumSignificantDigits: 4 })];
    spots.push({ x: left + size / 2, y: top, lines: figure.tips ? [...lines, figure.tips[place]] : lines });
  }));
  follow(holder, root, spots, () => {});
}

const KINDS = { points, stacks, bars };
