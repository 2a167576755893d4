/* What ties the two graphs, the panel and the keys together. */

class App {
  constructor(raw) {
    this.rules = raw.rules;
    this.sides = { before: new Side("before", raw.sides.before), after: new Side("after", raw.sides.after) };
    this.links = new Links(this.sides, raw);
    const hooks = { picked: (item) => (item ? this.choose(item) : this.clear()), toggled: (item) => this.toggle(item), moved: (pane) => this.follow(pane) };
    this.panes = { before: new Pane(this.sides.before, hooks), after: new Pane(this.sides.after, hooks) };
    this.item = null;
    this.change = null;
    this.lit = { before: new Set(), after: new Set() }; // numbers of nodes
    this.panels = new Panels(this);
  }
  get all() { return Object.values(this.panes); }
  pane(side) { return this.panes[side.name]; }
  other(pane) { return this.panes[pane.side.name === "before" ? "after" : "before"]; }
  get together() { return document.getElementById("sync").checked; }

  async start() {
    await Promise.all(this.all.map((p) => p.arrange()));
    this.all.forEach((p) => p.begin());
    this.anchor();
  }
  async arrange(panes = this.all, anchor = null) {
    const many = panes.find((p) => p.side.visible().length > LIMIT);
    if (many) {
      this.say(`more than ${LIMIT} boxes; fold some first`);
      return false;
    }
    await Promise.all(panes.map((p) => p.arrange(anchor && anchor.side === p.side ? anchor : null)));
    this.anchor();
    this.light();
    return true;
  }

  // ------------------------------------------------------------------ moving together
  /* Where what is shown on one side lies on the other, from top to bottom, without ever going back. */
  anchor() {
    const { before, after } = this.sides, pairs = new Map();
    const middle = (i) => ({ x: i.x + i.w / 2, y: i.y + i.h / 2 });
    const meet = (x, y) => { if (x.x !== undefined && y.x !== undefined) pairs.set(`${x.key} ${y.key}`, [middle(x), middle(y)]); };
    for (const [b, partners] of this.links.partners.before) for (const a of partners) meet(before.shown(before.leaves[b]), after.shown(after.leaves[a]));
    for (const pill of before.root.children) if (pill.value !== undefined) {
      const twin = this.links.counterpart(pill);
      if (twin) meet(pill, twin);
    }
    const ends = this.all.map((p) => [{ x: p.plan.width / 2, y: 0 }, { x: p.plan.width / 2, y: p.plan.height }]);
    const sorted = (from, to) => {
      const inner = [...pairs.values()].map((p) => [p[from], p[to]]).sort((p, q) => p[0].y - q[0].y);
      return [[ends[from][0], ends[to][0]], ...rising(inner), [ends[from][1], ends[to][1]]];
    };
    this.anchors = { before: sorted(0, 1), after: sorted(1, 0) };
  }
  follow(pane) {
    if (!this.together || !this.anchors) return;
    const rows = this.anchors[pane.side.name], other = this.other(pane);
    const { w, h } = pane.size(), { x, y, k } = pane.at, size = other.size();
    other.at.k = k;
    if (rows.length) {
      const cx = (w / 2 - x) / k, cy = (h / 2 - y) / k;
      let i = rows.findIndex(([p]) => p.y > cy);
      if (i < 0) i = rows.length;
      const [low, high] = [rows[Math.max(0, i - 1)], rows[Math.min(rows.length - 1, i)]];
      const t = high[0].y > low[0].y ? Math.min(1, Math.max(0, (cy - low[0].y) / (high[0].y - low[0].y))) : 0;
      const mix = (n, axis) => low[n][axis] * (1 - t) + high[n][axis] * t;
      const beyond = i === 0 ? cy - rows[0][0].y : i === rows.length ? cy - rows[i - 1][0].y : 0;
      other.at.x = size.w / 2 - (mix(1, "x") + cx - mix(0, "x")) * k;
      other.at.y = size.h / 2 - (mix(1, "y") + beyond) * k;
    }
    other.apply();
  }

  // ------------------------------------------------------------------ choosing
  light() {
    for (const pane of this.all) {
      const { side } = pane, keys = new Set([...this.lit[side.name]].map((n) => side.shown(side.leaves[n]).key));
      const current = this.item && this.item.side === side ? side.shown(this.item).key : null;
      if (this.item && this.item.side !== side && this.twin) keys.add(side.shown(this.twin).key);
      pane.light(keys, current);
    }
  }
  async choose(item, jump = false) {
    this.item = item;
    this.change = null;
    this.panels.current(null);
    this.twin = this.links.counterpart(item);
    this.lit = { before: new Set(), after: new Set() };
    if (item.kind === "node") {
      const partners = this.links.partners[item.side.name].get(item.node.id) || [];
      this.lit[this.links.other(item.side).name] = new Set(partners);
    }
    this.panels.showItem(item);
    this.panels.open("details");
    if (jump && item.side.shown(item) !== item) {
      item.side.reveal(item);
      await this.arrange([this.pane(item.side)]);
    } else this.light();
    const both = this.twin && this.together && jump;
    this.pane(item.side).show(item, both);
    if (both) this.pane(this.twin.side).show(this.twin.side.shown(this.twin), true);
    const { node } = item;
    this.say(node ? `${node.op} ${node.label}, ${item.side.name}${node.status ? `, ${node.status}` : ""}` : `${item.title || item.kind}, ${item.size || ""} nodes`);
  }
  async chooseChange(c, panel = false) {
    this.item = this.twin = null;
    this.change = c;
    this.lit = { before: new Set(c.before), after: new Set(c.after) };
    const changed = [];
    for (const pane of this.all) {
      const { side } = pane, items = c[side.name].map((n) => side.leaves[n]), hidden = items.filter((i) => side.shown(i) !== i);
      if (!hidden.length || items.length > 60) continue;
      for (const i of hidden) side.reveal(i);
      changed.push(pane);
    }
    if (changed.length) await this.arrange(changed);
    this.light();
    for (const pane of this.all) {
      const items = c[pane.side.name].map((n) => pane.side.shown(pane.side.leaves[n]));
      if (items.length) pane.fit(items);
    }
    const lone = this.all.filter((p) => !c[p.side.name].length);
    if (lone.length === 1) this.follow(this.other(lone[0]));
    this.panels.current(c);
    if (panel) {
      this.panels.showChange(c);
      this.panels.open("details");
    }
    this.say(`change ${c.id + 1}: ${c.rule >= 0 ? this.rules[c.rule] : "difference"}, ${ops(c.removed)} became ${ops(c.added)}`);
  }
  step(by) {
    const n = this.links.changes.length;
    if (!n) return this.say("no changes");
    const at = this.change ? this.change.id + by : by > 0 ? 0 : n - 1;
    return this.chooseChange(this.links.changes[(at + n) % n], true);
  }
  clear() {
    this.item = this.change = this.twin = null;
    this.lit = { before: new Set(), after: new Set() };
    this.panels.current(null);
    this.light();
  }
  async toggle(item) {
    if (!item.children) return;
    const twin = this.together ? this.links.counterpart(item) : null, states = [[item, item.open]];
    if (twin && twin.children && twin.open === item.open && twin.parent) states.push([twin, twin.open]);
    for (const [i, open] of states) {
      i.open = !open;
      if (!open) i.side.reveal(i);
    }
    if (!(await this.arrange(states.map(([i]) => this.pane(i.side)), item))) for (const [i, open] of states) i.open = open;
    else this.panels.showItem(item);
    this.follow(this.pane(item.side));
  }
  async refold() {
    for (const side of Object.values(this.sides)) side.unfoldSome();
    await this.arrange();
    this.all.forEach((p) => p.begin());
  }

  // ------------------------------------------------------------------ searching
  index() {
    this.texts ||= Object.values(this.sides).flatMap((side) => side.nodes.map((n) => {
      const own = (v) => v >= 0 && (n.outputs.includes(v) || side.values[v].constant); // other inputs are found at their producers
      const values = [...n.inputs, ...n.outputs].filter(own).map((v) => `${side.values[v].label} ${side.values[v].type}`);
      return [`${n.op} ${n.label} ${n.scope} ${values.join(" ")}`.toLowerCase(), side.leaves[n.id]];
    }));
    return this.texts;
  }
  search(text, fill = false) {
    if (fill) document.getElementById("search").value = text;
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length ? this.index().filter(([t]) => words.every((w) => t.includes(w))).map(([, item]) => item) : [];
    this.lit = { before: new Set(), after: new Set() };
    for (const item of found) this.lit[item.side.name].add(item.node.id);
    this.item = this.twin = null;
    this.light();
    if (!words.length) return;
    this.panels.showFound(text, found.slice(0, 200), found.length);
    this.panels.open("details");
  }
  /* The node that a value or a node of this name belongs to. */
  goTo(label) {
    for (const side of Object.values(this.sides)) {
      const node = side.nodes.find((n) => n.label === label || n.outputs.some((v) => v >= 0 && side.values[v].label === label));
      if (node) return this.choose(side.leaves[node.id], true);
    }
    return this.say(`${label} is in neither model: it came and went on the way`, true);
  }

  say(text, shown = false) {
    document.getElementById("said").textContent = text;
    if (!shown) return;
    this.panels.details.replaceChildren(html("p", {}, text));
    this.panels.open("details");
  }

  // ------------------------------------------------------------------ keys and buttons
  async key(e) {
    const typing = e.target.matches("input[type=search]"), pane = this.all.find((p) => p.svg === document.activeElement);
    if (e.key === "Escape") {
      if (typing) e.target.blur();
      return this.clear();
    }
    if (typing) {
      if (e.key !== "ArrowDown" && e.key !== "Enter") return undefined;
      const first = document.querySelector(".found button");
      if (first) first.focus();
      return e.preventDefault();
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return undefined;
    const found = document.activeElement.closest(".found");
    if (found && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      const b = document.activeElement[e.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling"];
      (b || document.getElementById("search")).focus();
      return e.preventDefault();
    }
    const direction = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[e.key];
    if (pane && direction) {
      e.preventDefault();
      return this.arrow(pane, direction);
    }
    if (pane && (e.key === "Enter" || e.key === " ")) {
      e.preventDefault();
      const item = this.item && this.item.side === pane.side ? pane.side.shown(this.item) : null;
      return item && (item.children ? this.toggle(item) : item.parent !== pane.side.root && this.choose(item.parent));
    }
    const button = { "/": "search", n: "next", p: "previous", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit", r: "refold", "?": "help" }[e.key];
    if (!button) return undefined;
    e.preventDefault();
    const element = document.getElementById(button);
    return button === "search" ? (element.focus(), element.select()) : element.click();
  }
  arrow(pane, [dx, dy]) {
    const current = this.item && this.item.side === pane.side ? pane.side.shown(this.item) : null;
    if (current) {
      const next = pane.neighbour(current, dx, dy);
      return next && this.choose(next);
    }
    const { w, h } = pane.size(), x = (w / 2 - pane.at.x) / pane.at.k, y = (h / 2 - pane.at.y) / pane.at.k;
    const far = (i) => Math.hypot(i.x + i.w / 2 - x, i.y + i.h / 2 - y);
    const near = pane.side.visible().filter((i) => !(i.children && i.open) && i.x !== undefined).sort((a, b) => far(a) - far(b))[0];
    return near && this.choose(near);
  }
  listen() {
    const on = (id, run, kind = "click") => document.getElementById(id).addEventListener(kind, run);
    const active = () => this.all.find((p) => p.svg === document.activeElement) || this.panes.before;
    on("previous", () => this.step(-1));
    on("next", () => this.step(1));
    on("zoom-in", () => active().zoom(1.25));
    on("zoom-out", () => active().zoom(0.8));
    on("fit", () => this.all.forEach((p) => p.fit()));
    on("refold", () => this.refold());
    on("sync", () => this.follow(this.panes.before), "change");
    on("help", (e) => {
      const keys = document.getElementById("keys");
      keys.hidden = !keys.hidden;
      e.currentTarget.setAttribute("aria-expanded", String(!keys.hidden));
    });
    let waiting = 0;
    on("search", (e) => { clearTimeout(waiting); waiting = setTimeout(() => this.search(e.target.value), 120); }, "input");
    document.addEventListener("keydown", (e) => { this.key(e); });
  }
}

/* Pairs of places with the second ones made to rise: neighbours that fall share their average (pool adjacent violators). */
function rising(pairs) {
  const pools = [];
  for (const [p, q] of pairs) {
    pools.push({ y: q.y, n: 1, members: [[p, q]] });
    while (pools.length > 1 && pools[pools.length - 2].y > pools[pools.length - 1].y) {
      const b = pools.pop(), a = pools[pools.length - 1];
      a.y = (a.y * a.n + b.y * b.n) / (a.n + b.n);
      a.n += b.n;
      a.members.push(...b.members);
    }
  }
  return pools.flatMap((pool) => pool.members.map(([p, q]) => [p, { x: q.x, y: pool.y }]));
}

engine().catch(() => {}); // starts while the data is read; whoever waits for it hears of errors
unpacked("data").then(async (text) => {
  const app = new App(JSON.parse(text));
  app.listen();
  await app.start();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}).catch((e) => {
  console.error(e);
  document.documentElement.dataset.failed = String(e);
  document.querySelector(".sides").replaceChildren(html("p", { class: "bad" }, `The graphs cannot be drawn: ${e}`));
});
