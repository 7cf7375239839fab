"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const state = { chosen: 0, step: 0, lane: null, timer: null };
const NUMBERS = ["utilisation", "invocations", "cycles", "bytes", "strides"];
const SHARED = 24, SLICES = 6;

function node(tag, attributes = {}, text = null) {
  const svg = ["svg", "rect", "circle", "text", "line", "title", "g"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

// An instruction that is no contraction has several nodes at each lane, its addends: one more lane dimension of this name.
const ADDENDS = "addends";
const nodeAt = (alternative, lane) => alternative.nodes[lane[ADDENDS] ?? 0];
const operandsOf = (alternative, lane) => nodeAt(alternative, lane).operands;

// The map phi: the operator's point at a lane of the invocation whose tile loops have the values `origin`; null if idle.
// Of a rewritten operator a point that the user's has not is idle too.
function point(alternative, origin, lane) {
  const found = {};
  for (const dim of alternative.outer) found[dim] = origin[dim];
  for (const name of Object.keys(alternative.lanes)) {
    let rest = name === ADDENDS ? nodeAt(alternative, lane).copy : lane[name];
    for (const digit of alternative.digits.filter(each => each.lane === name)) {
      let flat = origin[digit.loop] * digit.radix + rest % digit.radix;
      rest = Math.floor(rest / digit.radix);
      for (const dim of digit.dims) {
        found[dim] = flat % alternative.extents[dim];
        flat = Math.floor(flat / alternative.extents[dim]);
      }
      if (flat) return null;
    }
    if (rest) return null;
  }
  for (const place of alternative.places) {
    const at = value(place, found);
    if (at < 0 || at >= place.extent) return null;
  }
  return alternative.zeros.some(zero => value(zero, found)) ? null : found;
}

function originOf(alternative, step) {
  const origin = {};
  for (const loop of [...alternative.loops].reverse()) {
    origin[loop.name] = step % loop.extent;
    step = Math.floor(step / loop.extent);
  }
  return origin;
}

const value = (index, at) => index.terms.reduce((sum, [dim, factor]) => sum + factor * at[dim], index.constant);
const element = (operand, at) => operand.index.map(index => value(index, at));
const inside = (operand, place) => place.every((at, axis) => at >= 0 && at < operand.shape[axis]);

// The packed word that an operand comes from, as its place along each axis, and the place in the word.
function word(operand, origin) {
  return operand.axes.map(axis => axis.loops.reduce((sum, [loop, factor]) => sum + factor * origin[loop], -axis.before));
}
function wordNumber(operand, place) {
  return place.every((at, axis) => at >= 0 && at < operand.axes[axis].extent)
    ? place.reduce((sum, at, axis) => sum * operand.axes[axis].extent + at, 0) : null;
}
const inWord = (operand, lane) => value(operand.inner, lane);

function lanesOf(alternative) {
  return Object.entries(alternative.lanes).reduce(
    (all, [name, extent]) => all.flatMap(lane => Array.from({ length: extent }, (_, at) => ({ ...lane, [name]: at }))), [{}]);
}
function colour(alternative, lane) {
  const [rows, columns] = grid(alternative);
  const hue = 300 * lane[columns] / Math.max(1, alternative.lanes[columns] - 1);
  const light = 68 - 34 * lane[rows] / Math.max(1, alternative.lanes[rows] - 1);
  return `hsl(${hue.toFixed(0)} 65% ${light.toFixed(0)}%)`;
}
// The two widest lane dimensions make rows and columns; the others follow as blocks below each other.
function grid(alternative) {
  const names = Object.keys(alternative.lanes).sort((a, b) => alternative.lanes[b] - alternative.lanes[a]);
  return names.length > 1 ? [names[0], names[1]].sort((a, b) => Object.keys(alternative.lanes).indexOf(a)
    - Object.keys(alternative.lanes).indexOf(b)) : [names[0], names[0]];
}
const same = (a, b) => a && b && Object.keys(a).every(name => a[name] === b[name]);

function drawTable(rows) {
  const body = byId("alternatives").tBodies[0];
  body.replaceChildren(...rows.map(number => {
    const alternative = data.alternatives[number];
    const row = node("tr", { "data-number": number, "aria-selected": number === state.chosen, tabindex: 0 });
    if (alternative.pareto) row.className = "front";
    row.append(node("td", { class: "n" }, number + 1), node("td", {}, alternative.text));
    for (const key of NUMBERS) {
      const shown = key === "utilisation" ? alternative[key].toFixed(4) : alternative[key].toLocaleString("en");
      row.append(node("td", { class: "n" }, shown));
    }
    row.addEventListener("click", () => choose(number));
    return row;
  }));
}

function sortTable(key, down) {
  const at = number => key === "number" ? number : data.alternatives[number][key];
  const rows = data.alternatives.map((_, number) => number);
  rows.sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : a - b) * (down ? -1 : 1));
  drawTable(rows);
}

function drawFront() {
  const svg = byId("front"), scale = (values, from, to) => {
    const logs = values.map(Math.log), low = Math.min(...logs), span = Math.max(...logs) - low || 1;
    return one => from + (to - from) * (Math.log(one) - low) / span;
  };
  const all = data.alternatives;
  const x = scale(all.map(one => one.cycles), 50, 405), y = scale(all.map(one => one.bytes), 205, 15);
  svg.replaceChildren(
    node("line", { x1: 40, x2: 415, y1: 212, y2: 212, stroke: "#9ca3af" }),
    node("line", { x1: 40, x2: 40, y1: 8, y2: 212, stroke: "#9ca3af" }),
    node("text", { x: 415, y: 228, "text-anchor": "end" }, "cycles, logarithmic"),
    node("text", { x: 4, y: 12 }, "bytes"));
  all.forEach((one, number) => {
    const circle = node("circle", { cx: x(one.cycles), cy: y(one.bytes), r: 5, "data-number": number });
    circle.classList.toggle("front", one.pareto);
    circle.append(node("title", {}, `${number + 1}: ${one.text}`));
    circle.addEventListener("click", () => choose(number));
    svg.append(circle);
  });
}

function drawLanes(alternative, origin) {
  const svg = byId("lanes"), [rows, columns] = grid(alternative), lanes = lanesOf(alternative);
  const size = Math.max(8, Math.min(24, 420 / alternative.lanes[columns])), left = 46, top = 18;
  const blockNames = Object.keys(alternative.lanes).filter(name => name !== rows && name !== columns);
  const tall = rows === columns ? 1 : alternative.lanes[rows];
  const block = lane => blockNames.reduce((sum, name) => sum * alternative.lanes[name] + lane[name], 0);
  const blocks = blockNames.reduce((sum, name) => sum * alternative.lanes[name], 1);
  const height = top + blocks * (tall * size + 6), width = left + alternative.lanes[columns] * size + 4;
  svg.setAttribute("width", width); svg.setAttribute("height", height);
  svg.replaceChildren(node("text", { x: left, y: 11 }, `${columns} = 0 .. ${alternative.lanes[columns] - 1} →`));
  if (rows !== columns) svg.append(node("text", { x: 2, y: top + 11 }, `${rows} ↓`));
  for (const lane of lanes) {
    const at = point(alternative, origin, lane);
    const row = rows === columns ? 0 : lane[rows];
    const square = node("rect", { x: left + lane[columns] * size, y: top + block(lane) * (tall * size + 6) + row * size,
      width: size, height: size, class: at ? "lane" : "lane idle" });
    if (at) square.setAttribute("fill", colour(alternative, lane));
    if (same(lane, state.lane)) square.classList.add("marked");
    square.append(node("title", {}, describe(lane) + (at ? `: ${describe(at)}` : ": idle")));
    square.addEventListener("click", () => { state.lane = lane; draw(); });
    svg.append(square);
  }
}

const describe = at => Object.entries(at).map(([name, place]) => `${name}=${place}`).join(" ");

function drawSentence(alternative, origin) {
  const box = byId("sentence"), at = point(alternative, origin, state.lane);
  box.replaceChildren(`Lane ${describe(state.lane)} `);
  if (!at) { box.append("is idle: it multiplies zeros, or its result is not used."); return; }
  const asked = Object.fromEntries(alternative.places.map(place => [place.dim, value(place, at)]));
  const own = alternative.places.length ? `, which is ${describe(asked)}` : "";
  box.append("does the point ", node("code", {}, describe(at)), `${own}. `);
  operandsOf(alternative, state.lane).forEach((operand, number) => {
    const verb = number ? "It reads " : `It ${alternative.verb} `;
    if ("literal" in operand) { box.append(verb, node("code", {}, operand.literal), `, as ${operand.operand}. `); return; }
    const place = element(operand, at), number_ = wordNumber(operand, word(operand, origin));
    box.append(verb, node("code", {}, `${operand.tensor}[${place}]`));
    box.append(inside(operand, place) ? " from " : ", which is padding, ");
    box.append(number_ === null ? "a zero that the load supplies" :
      `element ${inWord(operand, state.lane)} of packed word ${number_}`, `, as ${operand.operand}. `);
  });
}

function drawTensors(alternative, origin) {
  byId("tensors").replaceChildren(...touchedBy(alternative, origin).map(({ operand, touched, marked }) => {
    const figure = node("figure", { "data-operand": operand.operand });
    figure.append(node("h4", {}, `${operand.tensor}[${operand.shape}] as ${operand.operand}`));
    figure.append(slices(alternative, operand, [...touched.values()], marked));
    return figure;
  }));
}

// For each tensor in an operand: the elements that lanes of this invocation use, and which of them the chosen lane does.
function touchedBy(alternative, origin) {
  const found = new Map();
  for (const lane of lanesOf(alternative)) {
    const at = point(alternative, origin, lane);
    for (const operand of operandsOf(alternative, lane)) {
      if ("literal" in operand) continue;
      const key = `${operand.operand} ${operand.tensor}`;
      if (!found.has(key)) found.set(key, { operand, touched: new Map(), marked: new Set() });
      if (!at) continue;
      const { touched, marked } = found.get(key), place = element(operand, at);
      if (!touched.has(String(place))) touched.set(String(place), { place, lane });
      if (same(lane, state.lane)) marked.add(String(place));
    }
  }
  return [...found.values()];
}

// The last two dimensions as a grid around the elements in use, one grid for each place along the others.
function slices(alternative, operand, touched, marked) {
  const holder = node("div", { class: "slices" });
  const rank = operand.shape.length;
  const across = place => rank ? place[rank - 1] : 0, along = place => rank > 1 ? place[rank - 2] : 0;
  const groups = new Map();
  for (const one of touched) {
    const key = String(one.place.slice(0, Math.max(0, rank - 2)));
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const xs = touched.map(one => across(one.place)), ys = touched.map(one => along(one.place));
  const left = Math.min(...xs) - 1, top = Math.min(...ys) - 1;
  const width = Math.min(SHARED, Math.max(...xs) - left + 2), height = Math.min(SHARED, Math.max(...ys) - top + 2);
  const holds = key => groups.get(key).some(one => marked.has(String(one.place))) ? 1 : 0;
  const order = [...groups.keys()].sort((a, b) => holds(b) - holds(a));
  for (const key of order.slice(0, SLICES)) {
    const size = 12, svg = node("svg", { width: width * size + 2, height: height * size + 16 });
    svg.append(node("text", { x: 1, y: 10 }, `[${key}${key && ","}${rank > 1 ? "·," : ""}·]`));
    const used = new Map(groups.get(key).map(one => [`${along(one.place)},${across(one.place)}`, one]));
    for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) {
      const one = used.get(`${top + row},${left + column}`);
      const out = left + column < 0 || left + column >= (operand.shape[rank - 1] ?? 1)
        || top + row < 0 || top + row >= (operand.shape[rank - 2] ?? 1);
      if (out && !one) continue;
      const square = node("rect", { x: 1 + column * size, y: 14 + row * size, width: size, height: size, class: "element" });
      if (one) {
        square.style.fill = colour(alternative, one.lane);
        if (out) square.style.opacity = .35;
        if (marked.has(String(one.place))) square.classList.add("marked");
        square.append(node("title", {}, `${operand.tensor}[${one.place}] ← ${describe(one.lane)}${out ? ", padding" : ""}`));
      }
      svg.append(square);
    }
    holder.append(svg);
  }
  if (groups.size > SLICES) holder.append(node("p", { class: "hint" }, `and ${groups.size - SLICES} more slices`));
  return holder;
}

function draw() {
  const alternative = data.alternatives[state.chosen], origin = originOf(alternative, state.step);
  byId("origin").textContent = `invocation ${state.step + 1} of ${alternative.invocations.toLocaleString("en")}: ${describe(origin)}`;
  byId("step").value = state.step;
  drawLanes(alternative, origin);
  drawSentence(alternative, origin);
  drawTensors(alternative, origin);
}

// The invocation in the middle of every loop: away from the padding at the edges.
const middle = alternative => alternative.loops.reduce((sum, loop) => sum * loop.extent + (loop.extent >> 1), 0);

function choose(number) {
  const alternative = data.alternatives[number];
  Object.assign(state, { chosen: number, step: middle(alternative), lane: Object.fromEntries(Object.keys(alternative.lanes).map(name => [name, 0])) });
  byId("chosen").textContent = `${number + 1}: ${alternative.text}`;
  byId("pattern").textContent = alternative.pattern;
  byId("layouts").textContent = [...alternative.layouts, ...alternative.packings].join("\n");
  byId("nest").textContent = alternative.nest;
  byId("command").textContent = alternative.command;
  byId("step").max = alternative.invocations - 1;
  for (const each of document.querySelectorAll("#alternatives tbody tr"))
    each.setAttribute("aria-selected", Number(each.dataset.number) === number);
  for (const each of document.querySelectorAll("#front circle"))
    each.classList.toggle("chosen", Number(each.dataset.number) === number);
  draw();
}

function step(by) {
  const count = data.alternatives[state.chosen].invocations;
  state.step = (state.step + by + count) % count;
  draw();
}

function play() {
  if (state.timer) { clearInterval(state.timer); state.timer = null; }
  else state.timer = setInterval(() => step(1), 400);
  byId("play").textContent = state.timer ? "stop" : "play";
}

function move(key) {
  const alternative = data.alternatives[state.chosen], [rows, columns] = grid(alternative);
  const [name, by] = { ArrowLeft: [columns, -1], ArrowRight: [columns, 1], ArrowUp: [rows, -1], ArrowDown: [rows, 1] }[key];
  const extent = alternative.lanes[name];
  state.lane = { ...state.lane, [name]: (state.lane[name] + by + extent) % extent };
  draw();
}

document.addEventListener("keydown", event => {
  const row = event.target.closest?.("#alternatives tbody tr");
  if (row && (event.key === "Enter" || event.key === " ")) { choose(Number(row.dataset.number)); event.preventDefault(); }
  else if (event.target.matches?.("input, button")) return;
  else if (event.key.startsWith("Arrow")) { move(event.key); event.preventDefault(); }
  else if (event.key === "n") step(1);
  else if (event.key === "p") step(-1);
  else if (event.key === " ") { play(); event.preventDefault(); }
});
byId("back").addEventListener("click", () => step(-1));
byId("forth").addEventListener("click", () => step(1));
byId("play").addEventListener("click", play);
byId("step").addEventListener("input", event => { state.step = Number(event.target.value); draw(); });
document.querySelectorAll("#alternatives th").forEach(head => head.addEventListener("click", () => {
  const down = head.dataset.down = head.dataset.down === "1" ? "" : "1";
  sortTable(head.dataset.key, !down);
}));

byId("title").textContent = data.title;
byId("statements").textContent = data.statements.join("\n");
byId("count").textContent = data.heading;
byId("square").textContent = data.square;
byId("action").textContent = data.action;
drawFront();
drawTable(data.alternatives.map((_, number) => number));
choose(0);
