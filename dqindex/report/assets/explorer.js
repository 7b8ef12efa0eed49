"use strict";
// The explorer: find an item by name, and show its tokens, those that share them, its neighbours.

const MATCHES = 20;
const SHOWN = 10;

async function unpack(name) {
  const holder = byId(`blob-${name}`);
  if (!holder) return null;
  const text = holder.textContent;
  holder.remove();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// Lines of a text by number, and the numbers of the lines that match a query.
class Lines {
  constructor(buffer) {
    this.text = new TextDecoder().decode(buffer);
    // Some letters change their length when lowered; then case counts.
    const lowered = this.text.toLowerCase();
    this.lowered = lowered.length === this.text.length ? lowered : this.text;
    this.folds = this.lowered === lowered;
    const starts = [0];
    for (let at = this.text.indexOf("\n"); at >= 0; at = this.text.indexOf("\n", at + 1)) starts.push(at + 1);
    this.starts = Uint32Array.from(starts);
  }

  get(number) {
    const end = number + 1 < this.starts.length ? this.starts[number + 1] - 1 : this.text.length;
    return this.text.slice(this.starts[number], end);
  }

  at(place) {
    let low = 0, high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= place) low = middle; else high = middle - 1;
    }
    return low;
  }

  // Whole lines first, then those that begin so, then those that hold it.
  find(query, most) {
    const wanted = this.folds ? query.toLowerCase() : query;
    const found = new Set();
    const begins = this.lowered.startsWith(wanted);
    if (begins && (this.starts.length === 1 || this.starts[1] === wanted.length + 1)) found.add(0);
    this.scan(`\n${wanted}\n`, 1, found, most);
    if (begins) found.add(0);
    this.scan(`\n${wanted}`, 1, found, most);
    this.scan(wanted, 0, found, most);
    return [...found].slice(0, most);
  }

  scan(wanted, skip, found, most) {
    for (let at = this.lowered.indexOf(wanted); at >= 0 && found.size < most;) {
      const line = this.at(at + skip);
      found.add(line);
      const next = line + 1 < this.starts.length ? this.starts[line + 1] - 1 : this.text.length;
      at = this.lowered.indexOf(wanted, Math.max(next, at + 1));
    }
  }
}

class Explorer {
  constructor(facts, names, ids, tokens, neighbors) {
    Object.assign(this, { facts, names, ids, tokens, neighbors });
  }

  token(item, level) {
    return this.tokens[level * this.facts.items + item];
  }

  // The items that share most tokens with one, in the map's order among equals.
  sharing(item) {
    const { items, levels } = this.facts;
    const shared = new Uint8Array(items);
    for (let level = 0; level < levels; level++) {
      const column = this.tokens.subarray(level * items, (level + 1) * items);
      const wanted = column[item];
      for (let other = 0; other < items; other++) if (column[other] === wanted) shared[other]++;
    }
    shared[item] = 0;
    const found = [];
    for (let count = levels; count > 0 && found.length < SHOWN; count--) {
      for (let at = shared.indexOf(count); at >= 0 && found.length < SHOWN; at = shared.indexOf(count, at + 1)) found.push(at);
    }
    return found;
  }

  near(item) {
    const { known, neighbors } = this.facts;
    if (!this.neighbors || item >= known) return null;
    return [...this.neighbors.subarray(item * neighbors, (item + 1) * neighbors)];
  }

  search(query) {
    const found = this.names.find(query, MATCHES);
    if (!this.ids) return found;
    return [...new Set([...this.ids.find(query, 1).filter((row) => this.ids.get(row) === query), ...found])].slice(0, MATCHES);
  }

  tokensOf(item, beside) {
    const line = element("span", { className: "tokens" });
    for (let level = 0; level < this.facts.levels; level++) {
      const token = this.token(item, level);
      const same = beside === undefined || token === this.token(beside, level);
      line.append(element(same ? "b" : "span", {}, String(token)), " ");
    }
    return line;
  }

  list(items, item, both) {
    const made = element("ol");
    for (const other of items) {
      const button = element("button", { type: "button" }, this.names.get(other));
      button.addEventListener("click", () => this.show(other));
      made.append(element("li", { className: both.has(other) ? "both" : "" }, button, " ", this.tokensOf(other, item)));
    }
    return made;
  }

  show(item) {
    const sharing = this.sharing(item), near = this.near(item);
    const both = new Set((near ?? []).filter((other) => sharing.includes(other)));
    const name = this.names.get(item);
    const heading = element("h3", { id: "shown", tabIndex: -1 }, name);
    const id = this.ids ? ` (${this.ids.get(item)})` : "";
    byId("found").replaceChildren(
      heading, element("p", {}, `Tokens${id}: `, this.tokensOf(item)),
      element("div", { className: "columns" },
        element("div", {}, element("h4", {}, "Items that share the most tokens"),
          sharing.length ? this.list(sharing, item, both) : element("p", { className: "note" }, "No other item shares a token.")),
        element("div", {}, element("h4", {}, "True neighbours"),
          near ? this.list(near, item, both) : element("p", { className: "note" }, "The page has none for this item."))),
    );
  }
}

function combobox(explorer) {
  const input = byId("item"), box = byId("matches");
  let active = -1;

  function close() {
    box.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function take(option) {
    input.value = option.textContent;
    close();
    explorer.show(Number(option.dataset.item));
  }

  function mark(place) {
    const options = [...box.children];
    active = (place + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    options[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[active].id);
  }

  function open() {
    const query = input.value.trim();
    const found = query ? explorer.search(query) : [];
    box.replaceChildren(...found.map((item, place) => {
      const option = element("li", { id: `match-${place}`, role: "option" }, explorer.names.get(item));
      option.dataset.item = String(item);
      option.setAttribute("aria-selected", "false");
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); take(option); });
      return option;
    }));
    active = -1;
    box.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    if (query && !found.length) byId("found").replaceChildren(element("p", { className: "note" }, "No name contains that."));
  }

  let waiting;
  input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(open, 60); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter") {
      clearTimeout(waiting);
      if (box.hidden) open();
      const option = box.children[Math.max(active, 0)];
      if (!box.hidden && option) take(option);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (box.hidden) open();
      if (!box.hidden) mark(active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1));
    }
  });
}

async function explore(facts) {
  byId("map").hidden = false;
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const before = facts.unique_before === null ? "" : ` (${percent(facts.unique_before)} before collisions were resolved)`;
  byId("map-summary").textContent = `${facts.total.toLocaleString("en")} items, ${facts.levels} tokens of ${facts.sizes.join(" × ")} codes; ${percent(facts.unique_share)} of the IDs are unique${before}.`;
  byId("left-out").replaceChildren(...facts.left_out.map((line) => element("li", {}, line)));
  byId("levels").tBodies[0].replaceChildren(...facts.level_figures.map((level, place) => element("tr", {},
    ...[place + 1, level.size, percent(level.coverage), level.perplexity.toFixed(1)].map((cell) => element("td", {}, String(cell))))));
  draw("chart-tokens", report.tokens);
  const arrays = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
  const [names, ids, tokens, neighbors] = await Promise.all(["names", "ids", "tokens", "neighbors"].map(unpack));
  const explorer = new Explorer(facts, new Lines(names), ids && new Lines(ids),
    new arrays[facts.width](tokens), neighbors && new Uint32Array(neighbors));
  combobox(explorer);
  byId("item").dataset.ready = "true";
}

if (report.map) explore(report.map);
