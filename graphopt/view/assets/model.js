/* Both models as items: leaves are nodes, groups are what is folded together, pills the inputs and outputs. */

const BUDGETS = [44, 30, 18, 10]; // boxes that are shown at first, of each model: as many as leave few enough edges
const EDGES = 90;
const LIMIT = 1500; // no more boxes are drawn at once

class Side {
  constructor(name, raw) {
    this.name = name;
    this.nodes = raw.nodes.map(([op, label, attributes, inputs, outputs, scope, flops, seconds, metadata], id) =>
      ({ id, op, label, attributes, inputs, outputs, scope, flops, seconds, metadata }));
    this.values = raw.values.map(([label, type, constant, node]) => ({ label, type, constant, node, readers: [] }));
    this.graphs = raw.graphs.map(([title, owner, inputs, outputs]) => ({ title, owner, inputs, outputs }));
    for (const n of this.nodes) for (const v of n.inputs) if (v >= 0) this.values[v].readers.push(n.id);
    this.items = new Map();
    this.leaves = [];
    this.root = { key: "root", side: this, kind: "root", title: "", children: [], parent: null, open: true };
    const tops = this.graphs.filter((g) => g.owner < 0);
    tops.forEach((graph, i) => {
      const holder = i ? this.group({ k: "region", t: graph.title, c: [] }, this.root) : this.root;
      if (!i) graph.inputs.forEach((v) => this.values[v].constant || this.pill(v, "input"));
      for (const c of raw.trees[i]) this.add(c, holder);
      if (!i) graph.outputs.forEach((v) => this.pill(v, "output"));
    });
    this.count(this.root);
    this.unfoldSome();
  }

  add(c, parent) {
    if (typeof c === "number") return this.leaf(c, parent);
    const g = this.group(c, parent);
    for (const inner of c.c) this.add(inner, g);
  }
  put(item, parent) {
    item.side = this;
    item.parent = parent;
    parent.children.push(item);
    this.items.set(item.key, item);
    return item;
  }
  leaf(id, parent) { this.leaves[id] = this.put({ key: `n${id}`, kind: "node", node: this.nodes[id] }, parent); }
  pill(v, kind) { this.put({ key: `${kind[0]}${v}`, kind, value: v }, this.root); }
  group(c, parent) {
    const item = { key: `g${this.items.size}`, kind: c.k, title: c.t, children: [], open: false };
    return this.put(item, parent);
  }

  /* How many nodes a group holds, and their operators. */
  count(item) {
    if (item.kind === "node") return (item.size = 1);
    item.size = 0;
    for (const c of item.children || []) item.size += this.count(c);
    return item.size;
  }

  unfoldSome() {
    for (const budget of BUDGETS) {
      this.unfold(budget);
      if (this.edges().length <= EDGES) break;
    }
  }
  unfold(budget) {
    for (const item of this.items.values()) if (item.children) item.open = false;
    const waiting = this.root.children.filter((c) => c.children);
    let shown = this.root.children.length;
    while (waiting.length) {
      waiting.sort((a, b) => a.size - b.size);
      const g = waiting.pop();
      if (shown + g.children.length - 1 > budget) continue;
      g.open = true;
      shown += g.children.length - 1;
      waiting.push(...g.children.filter((c) => c.children));
    }
  }

  /* What stands for an item: itself, or the outermost folded group around it. */
  shown(item) {
    let found = item;
    for (let p = item.parent; p; p = p.parent) if (!p.open) found = p;
    return found;
  }
  reveal(item) { for (let p = item.parent; p; p = p.parent) p.open = true; }
  visible() {
    const found = [];
    const walk = (item) => { for (const c of item.children) { found.push(c); if (c.children && c.open) walk(c); } };
    walk(this.root);
    return found;
  }
  inside(item) {
    if (item.kind === "node") return [item.node.id];
    return (item.children || []).flatMap((c) => this.inside(c));
  }

  /* Edges between what is shown; values that go the same way are one edge. */
  edges() {
    const found = new Map();
    const link = (from, to, v, inner) => {
      const a = this.shown(from), b = this.shown(to);
      if (a === b) return;
      const key = `${a.key}>${b.key}`;
      if (!found.has(key)) found.set(key, { from: a, to: b, values: new Set(), inner });
      found.get(key).values.add(v);
    };
    this.values.forEach((value, v) => {
      const source = value.node >= 0 ? this.leaves[value.node] : this.items.get(`i${v}`);
      if (!source) return;
      for (const r of value.readers) link(source, this.leaves[r], v, false);
      if (this.items.has(`o${v}`)) link(source, this.items.get(`o${v}`), v, false);
    });
    for (const g of this.graphs) if (g.owner >= 0) for (const v of g.outputs) {
      const from = this.values[v].node;
      if (from >= 0 && from !== g.owner) link(this.leaves[from], this.leaves[g.owner], v, true);
    }
    return [...found.values()];
  }
}

/* What stands for what on the other side. */
class Links {
  constructor(sides, raw) {
    this.sides = sides;
    this.kept = new Map(raw.kept); // after -> before
    this.changes = raw.changes.map(([rule, note, graph, removed, added, before, after], id) =>
      ({ id, rule, note, graph, removed, added, before, after }));
    this.partners = { before: new Map(), after: new Map() };
    for (const [a, b] of this.kept) this.pair(b, a);
    for (const c of this.changes) if (c.before.length * c.after.length <= 4000) for (const b of c.before) for (const a of c.after) this.pair(b, a);
    const stays = new Set(this.kept.values());
    this.touched = { before: sides.before.nodes.map(() => []), after: sides.after.nodes.map(() => []) };
    for (const c of this.changes) for (const name of ["before", "after"]) for (const n of c[name]) this.touched[name][n].push(c);
    for (const n of sides.before.nodes) n.status = stays.has(n.id) ? "" : "gone";
    for (const n of sides.after.nodes) n.status = this.kept.has(n.id) ? "" : "new";
    for (const side of Object.values(sides)) this.mark(side.root);
  }
  pair(b, a) {
    for (const [name, x, y] of [["before", b, a], ["after", a, b]]) {
      const m = this.partners[name];
      if (!m.has(x)) m.set(x, new Set());
      m.get(x).add(y);
    }
  }
  mark(item) {
    item.marked = item.kind === "node" ? +(item.node.status !== "") : 0;
    for (const c of item.children || []) item.marked += this.mark(c);
    return item.marked;
  }
  other(side) { return this.sides[side.name === "before" ? "after" : "before"]; }

  /* The item on the other side that stands for most of this one; null where nothing does. */
  counterpart(item) {
    const other = this.other(item.side);
    if (item.kind === "input" || item.kind === "output") {
      const label = item.side.values[item.value].label;
      return other.root.children.find((c) => c.kind === item.kind && other.values[c.value].label === label) || null;
    }
    const inside = item.side.inside(item), votes = new Map();
    let linked = 0;
    for (const n of inside) {
      const partners = this.partners[item.side.name].get(n);
      if (!partners) continue;
      linked += 1;
      const met = new Set();
      for (const p of partners) for (let q = other.leaves[p]; q.parent; q = q.parent) met.add(q);
      for (const q of met) votes.set(q, (votes.get(q) || 0) + 1);
    }
    let best = null, most = 0;
    for (const [q, n] of votes) {
      const back = other.inside(q).filter((x) => this.partners[other.name].has(x)).length;
      const score = n / Math.max(linked, back) + (q.kind === item.kind ? 1e-3 : 0);
      if (score > most) [best, most] = [q, score];
    }
    return best;
  }
}
