"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const shown = new Set(data.optimizers.filter((o) => o.shown).map((o) => o.name));
  const charts = [];
  const fill = (words, parts) => words.replace(/\{(\d)\}/g, (_, k) => parts[k - 1]);
  const say = (words, ...parts) => fill(data.words[words] ?? words, parts);
  let picked = null; // the optimizer that is pointed at

  const drawAll = () => charts.forEach((chart) => chart.draw());

  function svg(parent, tag, attributes = {}, text = "") {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text) node.textContent = text;
    parent.append(node);
    return node;
  }

  function html(parent, tag, text = "", className = "") {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    if (className) node.className = className;
    parent.append(node);
    return node;
  }

  // Scales and ticks

  const short = (x) => String(Number(x.toPrecision(4)));

  function scale([low, high], [start, end], log) {
    const at = log ? Math.log10 : (x) => x;
    const width = at(high) - at(low) || 1;
    return (x) => start + ((at(x) - at(low)) / width) * (end - start);
  }

  // The densest ticks whose words do not touch; room(a, b) is how far apart two must be in pixels.

  function roomy(sets, at, room) {
    const apart = (ticks) =>
      ticks.every((t, k) => k === 0 || Math.abs(at(t) - at(ticks[k - 1])) >= room(ticks[k - 1], t));
    return sets.find(apart) ?? [];
  }

  function linearTicks(low, high, whole = false) {
    const sets = [];
    const first = Math.floor(Math.log10((high - low) / 10 || 1));
    for (let power = first; power <= first + 2; power++) {
      for (const digit of [1, 2, 5]) {
        const step = Number(`${digit}e${power}`), ticks = [];
        if (whole && step < 1) continue;
        for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-9); k++) ticks.push(k * step);
        sets.push(ticks);
      }
    }
    return sets;
  }

  function logTicks(low, high, digitSets) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const inside = (t) => t >= low * (1 - 1e-9) && t <= high * (1 + 1e-9);
    const sets = digitSets.map((digits) => ({ digits, every: 1 }));
    for (let every = 2; every <= last - first; every++) sets.push({ digits: [1], every });
    return sets.map(({ digits, every }) => {
      const ticks = [];
      for (let k = first; k <= last; k++) {
        if (k % every === 0) for (const digit of digits) ticks.push(Number(digit + "e" + k));
      }
      return ticks.filter(inside);
    });
  }

  // One chart: lines over common places on x, and a cursor that reads them all at one place

  class Chart {
    // what: () => {label, log, top, floor, xlog, xlabel, xdomain, xname, series: [{o, points}]}
    constructor(id, what) {
      this.plot = document.querySelector(`#${id} .plot`);
      this.id = id;
      this.what = what;
      this.place = null; // the cursor's place on x
      this.svg = svg(this.plot, "svg", { tabindex: 0, role: "img" });
      this.tip = html(this.plot, "div", "", "tip");
      this.tip.setAttribute("aria-live", "polite");
      this.tip.hidden = true;
      this.svg.addEventListener("pointermove", (event) => this.point(event));
      this.svg.addEventListener("pointerdown", (event) => this.point(event));
      this.svg.addEventListener("pointerleave", (event) => {
        if (event.pointerType === "mouse") this.leave();
      });
      this.svg.addEventListener("keydown", (event) => this.key(event));
      this.svg.addEventListener("blur", () => this.leave());
      new ResizeObserver(() => this.draw()).observe(this.plot);
    }

    draw() {
      const width = this.plot.clientWidth;
      if (!width) return;
      const height = Math.max(260, Math.min(430, width * 0.55));
      const what = this.what();
      const series = what.series.filter((s) => shown.has(s.o.name) && s.points.length);
      const box = { left: 52, right: width - 24, top: 12, bottom: height - 40 };
      const values = series.flatMap((s) => s.points.map((p) => p.y));
      const seen = values.filter((y) => y !== null && y <= what.top);
      const low = what.log ? Math.max(what.floor, Math.min(...seen, what.top) * 0.85) : 0;
      const high = Math.min(what.top, Math.max(...seen, low * 2 || 1e-3) * 1.05);
      this.series = series;
      this.x = scale(what.xdomain, [box.left, box.right], what.xlog);
      const y = scale([low, high], [box.bottom, box.top], what.log);
      this.y = (value) => y(Math.max(value, low));
      this.places = [...new Set(series.flatMap((s) => s.points.map((p) => p.x)))];
      this.places.sort((a, b) => a - b);

      this.svg.replaceChildren();
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.setAttribute("height", height);
      const names = series.map((s) => s.o.name).join(", ") || say("nothing");
      this.svg.setAttribute("aria-label", `${what.label}, ${what.xlabel}: ${names}`);
      this.axes(what, box, low, high);
      const clip = svg(svg(this.svg, "defs"), "clipPath", { id: `${this.id}-clip` });
      svg(clip, "rect", {
        x: box.left, y: box.top - 6, width: box.right - box.left, height: box.bottom - box.top + 6,
      });
      const inside = svg(this.svg, "g", { "clip-path": `url(#${this.id}-clip)` });
      const last = series.filter((s) => s.o.name === picked);
      [...series.filter((s) => s.o.name !== picked), ...last].forEach((s) => this.line(inside, s));
      this.read(what, box);
    }

    axes(what, box, low, high) {
      const dense = [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]];
      const heights = what.log ? logTicks(low, high, dense) : linearTicks(low, high);
      for (const t of roomy(heights, this.y, () => 16)) {
        const at = this.y(t);
        svg(this.svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at });
        svg(this.svg, "text", { x: box.left - 6, y: at + 4, "text-anchor": "end" }, short(t));
      }
      const [from, to] = what.xdomain;
      const wide = (a, b) => 3.8 * (short(a).length + short(b).length) + 8;
      const places = what.xlog ? logTicks(from, to, [[1]]) : linearTicks(from, to, true);
      for (const t of roomy(places, this.x, wide)) {
        const at = this.x(t);
        svg(this.svg, "line", { class: "grid", x1: at, x2: at, y1: box.bottom, y2: box.bottom + 5 });
        svg(this.svg, "text", { x: at, y: box.bottom + 18, "text-anchor": "middle" }, short(t));
      }
      const middle = (box.left + box.right) / 2;
      svg(this.svg, "text", { x: middle, y: box.bottom + 35, "text-anchor": "middle" }, what.xlabel);
    }

    line(parent, { o, points }) {
      const known = points.filter((p) => p.y !== null);
      const path = (list) => list.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");
      const at = (p, value) => [this.x(p.x), this.y(value)];
      const stroke = o.colour;
      const dim = picked && picked !== o.name ? " dim" : "";
      const group = svg(parent, "g", { "data-optimizer": o.name, class: dim.trim() });
      if (picked === o.name) {
        const bounded = known.filter((p) => p.low !== null && p.high !== null);
        const edge = [...bounded.map((p) => at(p, p.high))];
        edge.push(...bounded.map((p) => at(p, p.low)).reverse());
        if (edge.length) svg(group, "path", { class: "band", d: `M${path(edge)}Z`, fill: stroke });
      }
      svg(group, "path", {
        class: picked === o.name ? "series strong" : "series",
        d: known.length ? `M${path(known.map((p) => at(p, p.y)))}` : "",
        stroke,
        "stroke-dasharray": o.dash || "none",
      });
      for (const p of known) {
        const [x, y] = at(p, p.y);
        if (p.best) svg(group, "circle", { cx: x, cy: y, r: 4, fill: stroke });
        if (p.diverged) {
          const cross = `M${x - 4},${y - 4}l8,8m0,-8l-8,8`;
          svg(group, "path", { class: "series", d: cross, stroke });
        }
      }
    }

    // Reading values

    read(what, box) {
      const place = this.place;
      this.tip.hidden = place === null || !this.places.includes(place);
      if (this.tip.hidden) return;
      const at = this.x(place);
      svg(this.svg, "line", { class: "cursor", x1: at, x2: at, y1: box.top, y2: box.bottom });
      this.tip.replaceChildren();
      html(this.tip, "strong", `${what.xname} ${short(place)}`);
      const body = html(html(this.tip, "table"), "tbody");
      for (const { o, p } of this.here()) {
        const row = html(body, "tr", "", o.name === picked ? "picked" : "");
        const sample = svg(svg(html(row, "td"), "svg", { width: 26, height: 8 }), "line", {
          x1: 0, x2: 26, y1: 4, y2: 4, stroke: o.colour, "stroke-width": 2.5,
        });
        sample.setAttribute("stroke-dasharray", o.dash || "none");
        html(row, "td", o.name);
        html(row, "td", p.y === null ? say("not finite") : short(p.y));
        const range = p.low !== null && p.high !== p.low ? say("{1} to {2}", short(p.low), short(p.high)) : "";
        html(row, "td", range);
        if (p.diverged) html(row, "td", say("{1} of {2} diverged", p.diverged, p.seeds));
      }
      const left = at < (box.left + box.right) / 2;
      this.tip.style.left = left ? `${at + 14}px` : "auto";
      this.tip.style.right = left ? "auto" : `${this.plot.clientWidth - at + 14}px`;
    }

    here() {
      const found = this.series.map((s) => ({ o: s.o, p: s.points.find((p) => p.x === this.place) }));
      return found.filter(({ p }) => p).sort((a, b) => (a.p.y ?? Infinity) - (b.p.y ?? Infinity));
    }

    point(event) {
      if (!this.places.length) return;
      const box = this.svg.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const far = (place) => Math.abs(this.x(place) - x);
      this.place = this.places.reduce((a, b) => (far(b) < far(a) ? b : a));
      const off = ({ p }) => Math.abs(this.y(p.y ?? 1e9) - y);
      const near = this.here().reduce((a, b) => (a && off(a) <= off(b) ? a : b), null);
      picked = near && off(near) < 24 ? near.o.name : null;
      drawAll();
    }

    key(event) {
      const sideways = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
      const along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      const clamp = (k, n) => Math.max(0, Math.min(n - 1, k));
      if (event.key === "Escape") return this.leave();
      if (!this.places.length || !(sideways || along)) return undefined;
      event.preventDefault();
      const now = this.places.indexOf(this.place);
      if (now < 0) this.place = this.places[this.places.length - 1];
      else if (sideways) this.place = this.places[clamp(now + sideways, this.places.length)];
      if (along) {
        const names = this.here().map(({ o }) => o.name);
        const k = names.indexOf(picked);
        picked = names[k < 0 ? 0 : clamp(k + along, names.length)];
      }
      return drawAll();
    }

    leave() {
      this.place = picked = null;
      drawAll();
    }
  }

  // The legend

  const chips = document.querySelector(".chips");
  const boxes = data.optimizers.map((o) => {
    const label = html(chips, "label");
    const box = html(label, "input");
    box.type = "checkbox";
    box.checked = o.shown;
    box.value = o.name;
    const sample = svg(label, "svg", { width: 36, height: 10, "aria-hidden": "true" });
    svg(sample, "line", {
      x1: 0, x2: 36, y1: 5, y2: 5, "stroke-width": 2.5, "stroke-dasharray": o.dash || "none",
    });
    html(label, "span", o.name);
    const pick = (name) => () => { picked = name; drawAll(); };
    label.addEventListener("pointerenter", pick(o.name));
    label.addEventListener("pointerleave", pick(null));
    box.addEventListener("focus", () => { if (box.matches(":focus-visible")) pick(o.name)(); });
    box.addEventListener("blur", pick(null));
    box.addEventListener("change", show);
    return box;
  });

  function show() {
    boxes.forEach((box) => (box.checked ? shown.add(box.value) : shown.delete(box.value)));
    drawAll();
  }

  function paint() {
    chips.querySelectorAll("line").forEach((line, k) => {
      line.setAttribute("stroke", data.optimizers[k].colour);
    });
    drawAll();
  }

  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => {
      const kind = button.dataset.show;
      boxes.forEach((box, k) => {
        const o = data.optimizers[k];
        box.checked = kind === "all" || (kind === "leads" && o.leads) || (kind === "first" && o.shown);
      });
      show();
    });
  }

  // The two charts

  const measure = document.getElementById("measure");
  for (const [name, words] of Object.entries(data.measures)) html(measure, "option", words).value = name;
  const logs = ["curves-log", "rates-log"].map((id) => document.getElementById(id));

  charts.push(new Chart("curves", () => ({
    label: data.measures[measure.value],
    log: logs[0].checked,
    top: measure.value === "valid_error" ? 1 : data.ceiling ?? Infinity,
    floor: measure.value === "valid_error" ? data.smallest_error : 1e-6 * (data.ceiling ?? 1),
    xlog: false,
    xlabel: say("epoch"),
    xname: say("epoch"),
    xdomain: [0, data.epochs],
    series: data.optimizers.map((o) => ({ o, points: o.curves[measure.value] })),
  })));

  const everyRate = [...new Set(data.optimizers.flatMap((o) => o.rates.map((p) => p.x)))];
  const places = everyRate.filter((x) => x !== null).sort((a, b) => a - b);
  const flat = (p) => (places.length ? places : [1]).map((x) => ({ ...p, x })); // no learning rate
  charts.push(new Chart("rates", () => ({
    label: say("lowest validation loss"),
    log: logs[1].checked,
    top: data.ceiling ?? Infinity,
    floor: 1e-6 * (data.ceiling ?? 1),
    xlog: true,
    xlabel: say("learning rate"),
    xname: say("learning rate"),
    xdomain: data.span[0] < data.span[1] ? data.span : [data.span[0] / 3, data.span[1] * 3],
    series: data.optimizers.map((o) => ({
      o,
      points: o.lr === null ? flat(o.rates[0]) : o.rates.map((p) => ({ ...p, best: p.x === o.lr })),
    })),
  })));

  [measure, ...logs].forEach((control) => control.addEventListener("change", drawAll));
  paint();

  // The table: a click on a column's head sorts by it, a second one turns the order round

  const table = document.querySelector(".numbers");
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, k) => Number(row.cells[k].dataset.value ?? NaN);

  function sortBy(k) {
    const down = heads[k].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[k].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    const known = rows.filter((row) => k === 0 || !Number.isNaN(value(row, k)));
    const name = (row) => row.cells[0].textContent;
    known.sort((a, b) => (k ? value(a, k) - value(b, k) : name(a).localeCompare(name(b))));
    if (down) known.reverse();
    table.tBodies[0].append(...known, ...rows.filter((row) => !known.includes(row)));
  }

  heads.forEach((head, k) => head.firstChild.addEventListener("click", () => sortBy(k)));
})();
