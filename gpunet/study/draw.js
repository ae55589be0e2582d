// Folding and unfolding the groups of a drawn tape. Lays out anew what gpunet/study/placing.py
// laid out at first, from the same rows and sizes.
"use strict";
const { rows, lanes, ways, parents, cards, folded, root, closed, gaps, margin, header, least } =
  JSON.parse(document.getElementById("graph").textContent);
const [ROW_GAP, ITEM_GAP, LANE, PAD, TITLE] = gaps;
const isLane = new Set(lanes), isClosed = new Set(closed);
let boxes, at, offsets, spans;

function measure(key) {
  return (boxes[key] = cards[key] ?? (isClosed.has(key) ? folded[key] : measureOpen(key)));
}

function split(row) {
  const real = row.map((k) => !isLane.has(k));
  const first = real.indexOf(true), last = real.lastIndexOf(true);
  return [row.slice(0, first), row.slice(first, last + 1), row.slice(last + 1)];
}

function measureOpen(key) {
  const framed = key !== root;
  let y = framed ? TITLE : 0;
  let left = framed ? folded[key][0] - PAD : 0, right = left;
  const parts = rows[key].map(split);
  for (const [before, row, after] of parts) {
    const real = row.filter((k) => !isLane.has(k));
    const height = Math.max(...real.map((k) => measure(k)[2]));
    const all = [...before, ...row, ...after];
    for (const k of all) if (isLane.has(k)) boxes[k] = [LANE / 2, LANE / 2, height, 0, height];
    let x = 0;
    const axes = {};
    for (const k of row) {
      axes[k] = x + boxes[k][0];
      x += boxes[k][0] + boxes[k][1] + ITEM_GAP;
    }
    const middle = real.reduce((sum, k) => sum + axes[k], 0) / real.length;
    for (const k of all) {
      const over = (height - boxes[k][2]) / 2;
      offsets[k] = [(axes[k] ?? 0) - middle, y + over];
      spans[k] = [-over, height - over];
    }
    left = Math.max(left, middle);
    right = Math.max(right, x - ITEM_GAP - middle);
    y += height + ROW_GAP;
  }
  for (const [before, , after] of parts) {
    before.reverse().forEach((k, n) => (offsets[k][0] = -left - ITEM_GAP / 2 - n * LANE));
    after.forEach((k, n) => (offsets[k][0] = right + ITEM_GAP / 2 + n * LANE));
  }
  left += LANE * Math.max(...parts.map(([before]) => before.length));
  right += LANE * Math.max(...parts.map(([, , after]) => after.length));
  y -= ROW_GAP;
  return framed ? [left + PAD, right + PAD, y + PAD, 0, y + PAD] : [left, right, y, 0, y];
}

function put(key, x, y) {
  at[key] = [x, y];
  if (key in cards || isClosed.has(key)) return;
  for (const k of (rows[key] ?? []).flat()) put(k, x + offsets[k][0], y + offsets[k][1]);
}

function visible(key) {
  while (!(key in at)) key = parents[key];
  return key;
}

function siblings(a, b) {
  const inside = {};
  for (; a in parents; a = parents[a]) inside[parents[a]] = a;
  while (!(parents[b] in inside)) b = parents[b];
  return [inside[parents[b]], b];
}

function path(way) {
  const first = visible(way[0]), last = visible(way[way.length - 1]);
  if (first === last) return "";
  const keys = [first, ...way.slice(1, -1).filter((k) => k in at), last];
  const n = (value) => value.toFixed(1);
  let d = `M${n(at[first][0])} ${n(at[first][1] + boxes[first][4])}`;
  for (let k = 1; k < keys.length; k++) {
    const [a, b] = [keys[k - 1], keys[k]];
    const [outerA, outerB] = siblings(a, b);
    const x = n(at[a][0]), start = at[outerA][1] + spans[outerA][1];
    const x2 = n(at[b][0]), end = at[outerB][1] + spans[outerB][0];
    const middle = n((start + end) / 2);
    d += `V${n(start)}C${x} ${middle} ${x2} ${middle} ${x2} ${n(end)}`;
  }
  return d + `V${n(at[last][1] + boxes[last][3])}`;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

function place() {
  [boxes, at, offsets, spans] = [{}, {}, {}, {}];
  const [left, right, height] = measure(root);
  const width = Math.max(left + right, least);
  put(root, left + (width - left - right) / 2, 0);
  for (const key of [...Object.keys(cards), ...Object.keys(folded)].map(Number)) {
    const element = document.getElementById(`i${key}`);
    if (!element) continue;
    element.style.display = key in at ? "inline" : "none";
    if (!(key in at)) continue;
    set(element, { transform: `translate(${at[key][0]} ${at[key][1]})` });
    if (key in folded) showGroup(element, key);
  }
  ways.forEach((way, k) => set(document.getElementById(`e${k}`), { d: path(way) }));
  const [w, h] = [width + 2 * margin, height + header + margin];
  set(document.documentElement, { width: w, height: h, viewBox: `0 0 ${w} ${h}` });
}

function showGroup(element, key) {
  const [left, right, height] = boxes[key];
  const shut = isClosed.has(key);
  set(element.querySelector(".frame"), { x: -left, width: left + right, height });
  set(element.querySelector(".toggle"), {
    transform: `translate(${-left} 0)`, "aria-expanded": !shut,
  });
  element.querySelector(".sign").textContent = shut ? "▸" : "▾";
  element.querySelector(".summary").style.display = shut ? "inline" : "none";
  element.classList.toggle("shut", shut);
}

function button(element, action) {
  element.addEventListener("click", action);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    action();
  });
}

for (const toggle of document.querySelectorAll(".toggle")) {
  const key = Number(toggle.parentNode.id.slice(1));
  button(toggle, () => {
    if (!isClosed.delete(key)) isClosed.add(key);
    place();
  });
}
for (const [id, keys] of [["fold-all", Object.keys(folded).map(Number)], ["unfold-all", []]]) {
  const element = document.getElementById(id);
  element.style.display = "inline";
  button(element, () => {
    isClosed.clear();
    keys.forEach((key) => isClosed.add(key));
    place();
  });
}
