"use strict";
// The page: which figures it shows, their legends, and the table of results.

const report = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "role") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const drawn = new Map();

function draw(id, figure) {
  drawn.set(id, figure);
  const holder = byId(id);
  legend(holder, figure);
  KINDS[figure.kind](holder, figure);
}

function redraw() {
  for (const [id, figure] of drawn) draw(id, figure);
}

// Colours follow the scheme by themselves, places the width.
let width = document.documentElement.clientWidth;
addEventListener("resize", () => {
  if (document.documentElement.clientWidth === width) return;
  width = document.documentElement.clientWidth;
  redraw();
});

// Above a figure, never on it: a family's entry hides and shows it.
function legend(holder, figure) {
  let list = holder.previousElementSibling;
  if (!list?.classList.contains("legend")) {
    list = element("ul", { className: "legend", "aria-label": "Legend" });
    holder.before(list);
  }
  const swatch = (name) => element("span", { className: `swatch ${name}` });
  if (figure.kind === "points") {
    const families = new Map(figure.series.map((one) => [one.family, one]));
    list.replaceChildren(...[...families.values()].map((one) => {
      const button = element("button", { type: "button", "aria-pressed": String(!hidden.has(one.family)) },
        swatch(`tone-${one.tone}${one.strong ? " strong" : ""}`), one.family);
      button.addEventListener("click", () => {
        if (!hidden.delete(one.family)) hidden.add(one.family);
        redraw();
      });
      return element("li", {}, button);
    }));
    return;
  }
  const name = figure.kind === "stacks" ? "step" : "tone";
  list.replaceChildren(...(figure.parts.length > 1 ? figure.parts : []).map((part) =>
    element("li", {}, swatch(`${name}-${part.tone} strong`), part.name)));
}

// Tables that are wider than the screen say so.
function cue(box) {
  const note = box.previousElementSibling;
  const update = () => {
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("more", left > 1);
    note.hidden = box.scrollWidth <= box.clientWidth + 1;
  };
  box.addEventListener("scroll", update);
  new ResizeObserver(update).observe(box);
  new ResizeObserver(update).observe(box.firstElementChild);
}

function fill(select, values, text, kept) {
  select.replaceChildren(...values.map((value, place) => element("option", { value: String(place) }, text(value))));
  const at = values.indexOf(kept);
  select.value = String(at < 0 ? 0 : at);
  return values[select.value];
}

// Results.

const COLUMNS = [
  ["method", (x) => x], ["parameters", (x) => x],
  ["recall k@k", fixed(4)], ["1@1", fixed(4)], ["1@k", fixed(4)],
  ["queries/s", (x) => Math.round(x).toLocaleString("en")],
  ["p50 ms", fixed(3)], ["p95 ms", fixed(3)], ["p99 ms", fixed(3)],
  ["bytes a vector", fixed(1)], ["build s", fixed(2)], ["build MiB", fixed(0)],
];
const WORDS = 2;

function fixed(digits) {
  return (value) => (value === null ? "" : value.toFixed(digits));
}

const chosen = { data: null, threads: null, tier: undefined, sort: 2, down: true };

function distinct(values) {
  return [...new Set(values)];
}

function show() {
  const views = report.views;
  chosen.data = fill(byId("pick-data"), distinct(views.map((v) => v.data)), String, chosen.data);
  const ofData = views.filter((v) => v.data === chosen.data);
  chosen.threads = fill(byId("pick-threads"), distinct(ofData.map((v) => v.threads)), String, chosen.threads);
  const ofThreads = ofData.filter((v) => v.threads === chosen.threads);
  const tiers = distinct(ofThreads.map((v) => v.tier)).reverse();
  chosen.tier = fill(byId("pick-tier"), tiers, (t) => (t === null ? "any" : `at most ${t}`), chosen.tier);
  const view = ofThreads.find((v) => v.tier === chosen.tier);
  draw("chart-frontier", view.frontier);
  draw("chart-bytes", view.bytes);
  draw("chart-build", view.build);
  table(view.rows);
}

function table(rows) {
  const direction = chosen.down ? -1 : 1;
  const ordered = [...rows].sort((a, b) => {
    const [x, y] = [a[chosen.sort], b[chosen.sort]];
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : (x ?? -1) - (y ?? -1);
    return direction * order;
  });
  byId("points").tBodies[0].replaceChildren(...ordered.map((row) => {
    // Peers are LIBRARY or LIBRARY:OPTIONS; a spec of ours begins with an upper-case word.
    const made = element("tr", { className: /^[A-Z]/.test(row[0]) ? "ours" : "" });
    row.forEach((value, place) => {
      made.append(element("td", { className: place < WORDS ? "words" : "" }, COLUMNS[place][1](value)));
    });
    return made;
  }));
  byId("points").tHead.rows[0].querySelectorAll("th").forEach((head, place) => {
    const sorted = chosen.down ? "descending" : "ascending";
    head.setAttribute("aria-sort", place === chosen.sort ? sorted : "none");
  });
}

function heads() {
  byId("points").tHead.rows[0].replaceChildren(...COLUMNS.map(([name], place) => {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      chosen.down = place === chosen.sort ? !chosen.down : place >= WORDS;
      chosen.sort = place;
      show();
    });
    return element("th", { scope: "col", className: place < WORDS ? "words" : "" }, button);
  }));
}

function pick(id, name, values) {
  byId(id).addEventListener("change", (event) => {
    chosen[name] = values()[event.target.value];
    show();
  });
}

if (report.views.length) {
  byId("bench").hidden = false;
  heads();
  const ofData = () => report.views.filter((v) => v.data === chosen.data);
  const ofThreads = () => ofData().filter((v) => v.threads === chosen.threads);
  pick("pick-data", "data", () => distinct(report.views.map((v) => v.data)));
  pick("pick-threads", "threads", () => distinct(ofData().map((v) => v.threads)));
  pick("pick-tier", "tier", () => distinct(ofThreads().map((v) => v.tier)).reverse());
  show();
}

const methods = Object.keys(report.subspaces);
if (methods.length) {
  byId("subspaces").hidden = false;
  fill(byId("pick-subspaces"), methods, String);
  const choose = () => {
    const [variance, use] = report.subspaces[methods[byId("pick-subspaces").value]];
    draw("chart-subspaces", variance);
    byId("chart-use").hidden = !use;
    if (use) draw("chart-use", use);
    else drawn.delete("chart-use");
  };
  byId("pick-subspaces").addEventListener("change", choose);
  choose();
}

document.querySelectorAll(".scroll").forEach(cue);

if (report.views.length) {
  const about = report.about;
  const versions = Object.entries(about.versions).map(([name, version]) => `${name} ${version}`);
  byId("about").append(
    element("p", {}, versions.join(", ")),
    ...about.commands.map((command) => element("p", {}, element("code", {}, command))),
  );
}
