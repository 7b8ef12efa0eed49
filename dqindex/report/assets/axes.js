"use strict";
// Axes: from values to places, ticks that fit, and text whose size the browser tells.

const SVG = "http://www.w3.org/2000/svg";
const CHARACTER = 7;

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function round(value) {
  return Math.round(value * 100) / 100;
}

function written(value, digits) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// About `count` round numbers from `low` to `high`, and how many digits tell them apart.
function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) ticks.push(at * step || 0);
  return { ticks, digits };
}

// Powers of ten and what lies between them, as many as there is room for.
function logTicks(low, high, count) {
  for (const within of [[1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const one of within) {
        const tick = one * 10 ** power;
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    }
    if (ticks.length <= count || within.length === 1) return ticks.length > 1 ? ticks : [low, high];
  }
  return [low, high];
}

// An axis over `values`: where a value is between `from` and `to`, its ticks, and how it is told.
function axis(about, values, from, to, count) {
  let low = Math.min(...values), high = Math.max(...values);
  if (about.range) [low, high] = about.range;
  else if (about.log) [low, high] = [low / 1.15, high * 1.15];
  else {
    const room = (high - low || Math.abs(high) || 1) * 0.05;
    [low, high] = [about.zero ? 0 : low - room, high + room];
  }
  const bend = about.log ? Math.log10 : (value) => value;
  const at = (value) => from + ((bend(value) - bend(low)) / (bend(high) - bend(low))) * (to - from);
  if (about.log) {
    const ticks = logTicks(low, high, count);
    return { low, high, at, ticks, text: (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 }) };
  }
  const { ticks, digits } = linearTicks(low, high, count);
  return { low, high, at, ticks, text: (value) => written(value, digits) };
}

function textWidth(root, text, name = "tick") {
  const probe = shape("text", { class: name, visibility: "hidden" }, text);
  root.append(probe);
  const width = probe.getComputedTextLength();
  probe.remove();
  return width;
}

// Ticks, their lines and the titles of both axes; the title of y stands above, and needs no turn.
function drawAxes(root, x, y, area, titles) {
  root.append(shape("text", { class: "title", x: 0, y: 14 }, titles.y));
  root.append(shape("text", { class: "title", x: area.right, y: area.bottom + 38, "text-anchor": "end" }, titles.x));
  for (const tick of y.ticks) {
    const at = round(y.at(tick));
    root.append(
      shape("line", { class: "grid", x1: area.left, x2: area.right, y1: at, y2: at }),
      shape("text", { class: "tick", x: area.left - 8, y: at + 4, "text-anchor": "end" }, y.text(tick)));
  }
  const size = Math.max(...x.ticks.map((tick) => textWidth(root, x.text(tick))));
  let free = -Infinity;
  for (const tick of x.ticks) {
    const at = round(x.at(tick));
    root.append(shape("line", { class: "grid", x1: at, x2: at, y1: area.top, y2: area.bottom }));
    const middle = Math.min(at, area.right + area.spare - size / 2);
    if (middle - size / 2 < free) continue;
    free = middle + size / 2 + CHARACTER;
    root.append(shape("text", { class: "tick", x: middle, y: area.bottom + 18, "text-anchor": "middle" }, x.text(tick)));
  }
}
