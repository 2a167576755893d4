/* One model drawn as SVG: boxes, edges with shapes, moving and zooming. */

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes = {}, ...children) {
  const e = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) if (v !== null) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
const SMALLEST = 0.03, LARGEST = 3, FAR = 0.42;

class Pane {
  constructor(side, hooks) {
    this.side = side;
    this.hooks = hooks; // picked(item), toggled(item), moved(pane)
    this.figure = document.getElementById(side.name);
    this.svg = this.figure.querySelector("svg");
    this.view = svg("g", { class: "view" });
    this.svg.append(this.view);
    this.at = { x: 0, y: 0, k: 1 };
    this.elements = new Map();
    this.listen();
  }

  async arrange(anchor = null) {
    const old = anchor && anchor.x !== undefined ? this.onScreen(anchor) : null;
    this.figure.classList.add("busy");
    try {
      this.plan = await layout(this.side);
      this.draw();
    } finally {
      this.figure.classList.remove("busy");
    }
    if (old && anchor.x !== undefined) {
      this.at.x = old.x - (anchor.x + anchor.w / 2) * this.at.k;
      this.at.y = old.y - anchor.y * this.at.k;
      this.apply();
    }
  }
  onScreen(item) {
    return { x: (item.x + item.w / 2) * this.at.k + this.at.x, y: item.y * this.at.k + this.at.y };
  }

  draw() {
    this.elements.clear();
    const items = this.side.visible();
    const holders = items.filter((i) => i.children && i.open), boxes = items.filter((i) => !(i.children && i.open));
    const edges = this.plan.edges.flatMap((e) => this.edge(e));
    this.view.replaceChildren(
      svg("g", {}, ...holders.map((i) => this.holder(i))), svg("g", {}, ...edges),
      svg("g", {}, ...this.shapes()), svg("g", {}, ...boxes.map((i) => this.box(i))));
  }
  keep(item, element) {
    element.dataset.key = item.key;
    this.elements.set(item.key, element);
    return element;
  }
  holder(item) {
    const title = item.kind === "stack" ? `${item.title} · ${item.children.length} blocks` : item.title;
    return this.keep(item, svg("g", { class: "holder", transform: `translate(${item.x},${item.y})` },
      svg("rect", { width: item.w, height: item.h }),
      svg("text", { x: 12, y: 19 }, `− ${cut(title, Math.max(6, Math.floor(item.w / 7)))}`)));
  }
  box(item) {
    const { x, y, w, h, lines } = item, group = Boolean(item.children);
    const kind = item.kind === "node" ? item.node.status : group ? "folded" : "pill";
    const parts = [];
    if (item.kind === "stack") for (const d of [6, 3]) parts.push(svg("rect", { class: "under", x: d, y: d, width: w, height: h }));
    parts.push(svg("rect", { width: w, height: h }));
    parts.push(svg("text", { class: "op", x: w / 2, y: 15, "text-anchor": "middle" }, lines[0]));
    parts.push(svg("text", { class: "small", x: w / 2, y: 28, "text-anchor": "middle" }, lines[1]));
    if (group) {
      const full = w - 20, part = full * (item.marked / Math.max(1, item.size));
      parts.push(svg("rect", { class: "meter", x: 10, y: 36, width: full, height: 4 }));
      if (part) parts.push(svg("rect", { class: `meter ${this.side.name === "before" ? "gone" : "new"}`, x: 10, y: 36, width: Math.max(2, part), height: 4 }));
    }
    parts.push(svg("title", {}, this.tooltip(item)));
    return this.keep(item, svg("g", { class: `box ${kind}`, transform: `translate(${x},${y})` }, ...parts));
  }
  tooltip(item) {
    if (item.kind === "node") return `${item.node.op} ${item.node.label}`;
    if (!item.children) return `${item.kind} ${this.side.values[item.value].label} ${this.side.values[item.value].type}`;
    const verb = this.side.name === "before" ? "go" : "are new";
    return `${item.title}: ${item.size} nodes, ${item.marked} ${verb}; double-click or Enter unfolds`;
  }
  edge(e) {
    const p = e.points, parts = [`M${p[0].x},${p[0].y}`], end = p[p.length - 1];
    for (let i = 1; i < p.length - 1; i++) {
      const a = p[i - 1], b = p[i], c = p[i + 1];
      const r = Math.min(6, Math.hypot(b.x - a.x, b.y - a.y) / 2, Math.hypot(c.x - b.x, c.y - b.y) / 2);
      const to = (q) => { const d = Math.hypot(q.x - b.x, q.y - b.y) || 1; return `${b.x + ((q.x - b.x) * r) / d},${b.y + ((q.y - b.y) * r) / d}`; };
      parts.push(`L${to(a)}Q${b.x},${b.y} ${to(c)}`);
    }
    parts.push(`L${end.x},${end.y}`);
    const path = svg("path", { class: "edge", d: parts.join(""), "stroke-dasharray": e.inner ? "4 3" : null });
    const before = p[p.length - 2], angle = Math.atan2(end.y - before.y, end.x - before.x) * 180 / Math.PI;
    const tip = svg("path", { class: "tip", d: "M0,0L-7,-3.2L-7,3.2Z", transform: `translate(${end.x},${end.y}) rotate(${angle})` });
    const names = [...e.values].slice(0, 12).map((v) => `${this.side.values[v].label} ${this.side.values[v].type}`);
    path.append(svg("title", {}, names.join("\n") + (e.values.size > 12 ? `\nand ${e.values.size - 12} more` : "")));
    e.element = path;
    return [path, tip];
  }
  /* What flows along an edge, beside its beginning: once where several begin, and where there is room. */
  shapes() {
    const places = new Map(), rows = new Map();
    for (const e of this.plan.edges) {
      const { x, y } = e.points[0], key = `${e.from.key}:${[...e.values].join()}`;
      if (!places.has(key)) places.set(key, { x, y: Math.round(y), values: new Set() });
      for (const v of e.values) places.get(key).values.add(v);
    }
    const found = [];
    for (const { x, y, values } of [...places.values()].sort((p, q) => p.x - q.x)) {
      const [first] = values, types = new Set([...values].map((v) => this.side.values[v].type));
      const text = values.size === 1 ? this.side.values[first].type : types.size === 1 ? `${values.size} × ${[...types][0]}` : `${values.size} values`;
      if (!text || x < (rows.get(y) ?? -Infinity)) continue;
      rows.set(y, x + 10 + widthOf(text, 9.5));
      found.push(svg("text", { class: "shape", x: x + 5, y: y + 11 }, text));
    }
    return found;
  }

  /* Classes of items that are lit; `current` is the one that keys act on. */
  light(keys, current) {
    for (const [key, e] of this.elements) {
      e.classList.toggle("lit", keys.has(key));
      e.classList.toggle("current", key === current);
    }
    for (const e of this.plan ? this.plan.edges : []) {
      const lit = current !== null && (e.from.key === current || e.to.key === current);
      e.element.classList.toggle("lit", lit);
    }
  }

  // ------------------------------------------------------------------ moving
  apply() {
    this.view.setAttribute("transform", `translate(${this.at.x},${this.at.y}) scale(${this.at.k})`);
    this.svg.classList.toggle("far", this.at.k < FAR);
  }
  size() { return { w: this.svg.clientWidth, h: this.svg.clientHeight }; }
  fit(items = null) {
    const { w, h } = this.size(), placed = (items || []).filter((i) => i.x !== undefined);
    let box = { x: 0, y: 0, r: this.plan.width, b: this.plan.height };
    if (placed.length) box = { x: Math.min(...placed.map((i) => i.x)), y: Math.min(...placed.map((i) => i.y)), r: Math.max(...placed.map((i) => i.x + i.w)), b: Math.max(...placed.map((i) => i.y + i.h)) };
    const most = placed.length ? 1 : 1.1, pad = placed.length ? 60 : 24;
    const k = Math.max(SMALLEST, Math.min(most, (w - 2 * pad) / (box.r - box.x), (h - 2 * pad) / (box.b - box.y)));
    this.at = { k, x: w / 2 - (k * (box.x + box.r)) / 2, y: h / 2 - (k * (box.y + box.b)) / 2 };
    this.apply();
  }
  /* The top of the model, as large as can be read. */
  begin() {
    const { w } = this.size(), k = Math.max(0.8, Math.min(1, (w - 40) / this.plan.width));
    const first = this.side.root.children.find((i) => i.x !== undefined && i.kind !== "input") || { x: 0, w: this.plan.width };
    const middle = this.plan.width * k <= w ? this.plan.width / 2 : first.x + first.w / 2;
    this.at = { k, x: w / 2 - middle * k, y: 44 };
    this.apply();
  }
  zoom(factor, x, y) {
    const { w, h } = this.size();
    const px = x ?? w / 2, py = y ?? h / 2, k = Math.min(LARGEST, Math.max(SMALLEST, this.at.k * factor));
    this.at = { k, x: px - ((px - this.at.x) * k) / this.at.k, y: py - ((py - this.at.y) * k) / this.at.k };
    this.apply();
    this.hooks.moved(this);
  }
  move(dx, dy) {
    this.at.x += dx;
    this.at.y += dy;
    this.apply();
    this.hooks.moved(this);
  }
  /* Bring an item into sight if it is not; the other side follows unless it has a place of its own to be at. */
  show(item, alone = false) {
    if (item.x === undefined) return;
    const { w, h } = this.size(), { x, y } = this.onScreen(item);
    if (x < 60 || x > w - 60 || y < 40 || y > h - 60) {
      this.at.x += w / 2 - x;
      this.at.y += h / 2 - y;
      this.apply();
      if (!alone) this.hooks.moved(this);
    }
  }

  itemOf(event) {
    const e = event.target.closest("[data-key]");
    return e ? this.side.items.get(e.dataset.key) : null;
  }
  listen() {
    const pointers = new Map();
    let moved = false;
    this.svg.addEventListener("wheel", (e) => {
      e.preventDefault();
      const scale = e.deltaMode === 1 ? 16 : 1, box = this.svg.getBoundingClientRect();
      if (e.ctrlKey || e.metaKey) this.zoom(Math.exp(-e.deltaY * scale * 0.004), e.clientX - box.left, e.clientY - box.top);
      else this.move(-e.deltaX * scale, -e.deltaY * scale);
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      pointers.set(e.pointerId, e);
      moved = false;
    });
    this.svg.addEventListener("pointermove", (e) => {
      const last = pointers.get(e.pointerId);
      if (!last) return;
      if (!moved && Math.hypot(e.clientX - last.clientX, e.clientY - last.clientY) < 4) return;
      if (!moved) {
        this.svg.setPointerCapture(e.pointerId);
        this.svg.classList.add("dragging");
        moved = true;
      }
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== e.pointerId)[1], box = this.svg.getBoundingClientRect();
        const far = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
        this.zoom(far(e) / (far(last) || 1), other.clientX - box.left, other.clientY - box.top);
      } else this.move(e.clientX - last.clientX, e.clientY - last.clientY);
      pointers.set(e.pointerId, e);
    });
    for (const kind of ["pointerup", "pointercancel"])
      this.svg.addEventListener(kind, (e) => { pointers.delete(e.pointerId); this.svg.classList.remove("dragging"); });
    this.svg.addEventListener("click", (e) => { if (!moved) { this.hooks.picked(this.itemOf(e)); } });
    this.svg.addEventListener("dblclick", (e) => { const item = this.itemOf(e); if (item && item.children) this.hooks.toggled(item); });
  }

  /* The box that lies nearest in a direction. */
  neighbour(item, dx, dy) {
    let best = null, least = Infinity;
    for (const i of this.side.visible()) {
      if (i === item || (i.children && i.open) || i.x === undefined) continue;
      const ax = i.x + i.w / 2 - item.x - item.w / 2, ay = i.y + i.h / 2 - item.y - item.h / 2;
      const along = ax * dx + ay * dy, across = Math.abs(ax * dy) + Math.abs(ay * dx);
      if (along <= 1) continue;
      const far = along + 2.5 * across;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }
}
