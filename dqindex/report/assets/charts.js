"use strict";
// Charts and the table of results. The figures come ready; here they are themed and chosen.

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
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 640px)");

function draw(id, figure) {
  drawn.set(id, figure);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
  const small = narrow.matches;
  const layout = {
    font: { color: colour("--text"), size: small ? 11 : 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: small ? 45 : 65, r: small ? 8 : 20, t: 10, b: 50 },
    height: small ? 520 : 460,
    hoverlabel: { align: "left" },
    legend: small ? { orientation: "h", y: -0.2, font: { size: 10 } } : {},
    ...figure.layout,
  };
  for (const name of Object.keys(figure.layout)) {
    if (/^[xy]axis/.test(name)) layout[name] = { ...axis, ...figure.layout[name] };
  }
  Plotly.react(byId(id), figure.data, layout, { responsive: true, displayModeBar: false });
}

function redraw() {
  for (const [id, figure] of drawn) draw(id, figure);
}
dark.addEventListener("change", redraw);
narrow.addEventListener("change", redraw);

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
  const choose = () => draw("chart-subspaces", report.subspaces[methods[byId("pick-subspaces").value]]);
  byId("pick-subspaces").addEventListener("change", choose);
  choose();
}

if (report.views.length) {
  const about = report.about;
  const versions = Object.entries(about.versions).map(([name, version]) => `${name} ${version}`);
  byId("about").append(
    element("p", {}, `k = ${about.k}, ${about.queries.join(" and ")} queries; ${about.machines.join("; ")}; ${versions.join(", ")}`),
    ...about.commands.map((command) => element("p", {}, element("code", {}, command))),
  );
}
