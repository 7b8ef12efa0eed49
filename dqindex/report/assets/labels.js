"use strict";
// Labels that keep clear of each other and of the dots, and the tip of what is pointed at.

const GAP = 6;
const LINE = 15;

function overlaps(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function within(box, area) {
  return box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom;
}

// Where a text of that width can stand beside a point.
function beside([x, y], width) {
  const box = (left, top) => ({ left, right: left + width, top, bottom: top + LINE });
  return [
    box(x + GAP, y - LINE / 2), box(x - GAP - width, y - LINE / 2),
    box(x - width / 2, y - GAP - LINE), box(x - width / 2, y + GAP),
  ];
}

// Where it can stand farther off, at the end of a line to the point that is no longer than `most`.
function apart([x, y], width, most) {
  const found = [];
  for (const far of [24, 48, 80, 120, 170, 230, 300].filter((one) => one <= most)) {
    for (const [right, down] of [[-0.5, 1], [-1, 1], [0.3, 1], [0.3, -1], [-0.5, -1], [-2, 1]]) {
      const [end, top] = [x + far * right, y + far * down - LINE / 2];
      const left = right < 0 ? end - width : end;
      found.push({ left, right: left + width, top, bottom: top + LINE, leads: [end, y + far * down] });
    }
  }
  return found;
}

// Write the label of each of `named` at the first of its `spots` that has room; the first come first.
function writeLabels(root, named, taken, area) {
  const boxes = [...taken];
  // A line across a narrow chart hides more than a label tells.
  const most = Math.max(80, (area.right - area.left) / 4);
  for (const { text, spots, tone, strong } of named) {
    const name = `label tone-${tone}${strong ? " strong" : ""}`;
    const width = textWidth(root, text, name);
    const free = (box) => within(box, area) && !boxes.some((other) => overlaps(box, other));
    let found = spots.flatMap((spot) => beside(spot, width)).find(free);
    for (let place = 0; strong && !found && place < spots.length; place++) {
      found = apart(spots[place], width, most).find(free);
      if (found) {
        const [[x1, y1], [x2, y2]] = [spots[place], found.leads];
        root.append(shape("line", { class: `leader tone-${tone}`, x1, y1, x2: round(x2), y2: round(y2) }));
      }
    }
    if (!found) continue;
    boxes.push(found);
    root.append(shape("text", { class: name, x: round(found.left), y: round(found.top + 12) }, text));
  }
}

// Show lines of text beside a place of `holder`, without leaving it.
function showTip(holder, lines, x, y) {
  let tip = holder.querySelector(".tip");
  if (!tip) {
    tip = element("div", { className: "tip", role: "status" });
    holder.append(tip);
  }
  tip.replaceChildren(...lines.map((line, place) => element(place ? "div" : "b", {}, line)));
  tip.hidden = false;
  const room = holder.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(x + 12, room))}px`;
  const above = y - tip.offsetHeight - 12;
  tip.style.top = `${above < 0 ? y + 16 : above}px`;
}

function hideTip(holder) {
  const tip = holder.querySelector(".tip");
  if (tip) tip.hidden = true;
}

// What is nearest to the pointer, of `spots` with x and y, is told.
function follow(holder, root, spots, tell) {
  const move = (event) => {
    const box = root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = 30 ** 2;
    for (const spot of spots) {
      const apart = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (apart < least) [best, least] = [spot, apart];
    }
    tell(best);
    if (best) showTip(holder, best.lines, best.x, best.y + root.offsetTopInHolder);
    else hideTip(holder);
  };
  root.offsetTopInHolder = root.getBoundingClientRect().top - holder.getBoundingClientRect().top;
  root.addEventListener("pointermove", move);
  root.addEventListener("pointerdown", move);
  root.addEventListener("pointerleave", () => { tell(null); hideTip(holder); });
}
