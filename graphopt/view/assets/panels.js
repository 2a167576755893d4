/* The panel beside the graphs: changes, what did not apply, what is selected, what a search found. Names of a model are only ever text. */

function html(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (k === "click") e.addEventListener("click", v);
    else if (v !== null) e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}
const some = (list, n, text) => list.slice(0, n).map(text).join(", ") + (list.length > n ? ` and ${list.length - n} more` : "");
const ops = (list) => some(Object.entries(list.reduce((c, [op]) => ({ ...c, [op]: (c[op] || 0) + 1 }), {})), 6, ([op, n]) => (n > 1 ? `${op} × ${n}` : op)) || "nothing";
const timeText = (s) => (s >= 1e-3 ? `${(s * 1e3).toPrecision(3)} ms` : `${(s * 1e6).toPrecision(3)} µs`);
const countText = (n) => (n >= 1e9 ? `${(n / 1e9).toPrecision(3)} G` : n >= 1e6 ? `${(n / 1e6).toPrecision(3)} M` : n.toLocaleString("en"));

class Panels {
  constructor(app) {
    this.app = app;
    this.tabs = [...document.querySelectorAll('[role="tab"]')];
    for (const tab of this.tabs) tab.addEventListener("click", () => this.open(tab.id.slice(4)));
    document.querySelector(".tabs").addEventListener("keydown", (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step) return;
      const next = this.tabs[(this.tabs.indexOf(document.activeElement) + step + this.tabs.length) % this.tabs.length];
      next.focus();
      next.click();
      e.preventDefault();
    });
    this.details = document.getElementById("details");
    this.steps();
    for (const b of document.querySelectorAll("[data-search]")) b.addEventListener("click", () => app.search(b.dataset.search, true));
    for (const b of document.querySelectorAll("[data-value]")) b.addEventListener("click", () => app.goTo(b.dataset.value));
  }
  open(name) {
    for (const tab of this.tabs) {
      const on = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.id.slice(4)).hidden = !on;
    }
  }

  /* The steps of a rule are listed when it is opened: there may be thousands. */
  steps() {
    const { changes } = this.app.links;
    for (const place of document.querySelectorAll("#changes > details")) {
      const rule = +place.dataset.rule;
      place.addEventListener("toggle", () => {
        const list = place.querySelector(":scope > .steps");
        if (place.open && !list.children.length) this.list(list, changes.filter((c) => c.rule === rule));
      });
    }
    this.list(document.getElementById("pieces"), changes.filter((c) => c.rule < 0));
  }
  list(place, changes, from = 0) {
    const page = 200;
    for (const c of changes.slice(from, from + page)) place.append(html("li", {}, this.changeButton(c)));
    if (changes.length > from + page) {
      const more = html("button", { click: () => { more.parentNode.remove(); this.list(place, changes, from + page); } }, `${changes.length - from - page} more…`);
      place.append(html("li", {}, more));
    }
  }
  changeButton(c, named = false) {
    const where = c.graph ? ` in ${c.graph}` : "", name = named && c.rule >= 0 ? `${this.app.rules[c.rule]}: ` : "";
    return html("button", { "data-change": c.id, title: c.note || null, click: () => this.app.chooseChange(c) },
      html("span", { class: "quiet" }, `${c.id + 1}. `), `${name}${ops(c.removed)} → ${ops(c.added)}${where}`);
  }
  current(change) {
    for (const b of document.querySelectorAll("[data-change]")) {
      if (change && +b.dataset.change === change.id) b.setAttribute("aria-current", "true");
      else b.removeAttribute("aria-current");
    }
  }

  pairs(rows) {
    return html("dl", {}, ...rows.filter(([, v]) => v).flatMap(([k, v]) => [html("dt", {}, k), html("dd", {}, v)]));
  }
  value(side, v) {
    if (v < 0) return "left out";
    const { label, type, constant } = side.values[v];
    return `${label}  ${type}${constant ? `  = ${constant}` : ""}`;
  }
  showItem(item) {
    const { side } = item, out = [html("p", { class: "quiet" }, `${side.name}${item.node && item.node.status ? `, ${item.node.status === "gone" ? "goes" : "comes"}` : ""}`)];
    if (item.kind === "node") {
      const n = item.node;
      out.unshift(html("h2", {}, n.op));
      out.push(this.pairs([["name", n.label], ["from", n.scope], ...Object.entries(n.attributes), ["estimated", timeText(n.seconds)], ["flops", n.flops ? countText(n.flops) : ""], ...Object.entries(n.metadata)]));
      out.push(html("h3", {}, "reads"), ...n.inputs.map((v) => html("p", {}, html("code", {}, this.value(side, v)))));
      out.push(html("h3", {}, "writes"), ...n.outputs.map((v) => html("p", {}, html("code", {}, this.value(side, v)))));
      const touched = this.app.links.touched[side.name][n.id];
      if (touched.length) out.push(html("h3", {}, side.name === "before" ? "what took it" : "where it came from"), html("ol", { class: "steps" }, ...touched.slice(0, 30).map((c) => html("li", {}, this.changeButton(c, true)))));
    } else if (item.children) {
      const inside = side.inside(item).map((n) => side.nodes[n]);
      out.unshift(html("h2", {}, item.title));
      out.push(this.pairs([["nodes", String(item.size)], [side.name === "before" ? "go" : "new", String(item.marked)], ["estimated", timeText(inside.reduce((t, n) => t + n.seconds, 0))]]));
      const counts = Object.entries(inside.reduce((c, n) => ({ ...c, [n.op]: (c[n.op] || 0) + 1 }), {})).sort((a, b) => b[1] - a[1]);
      out.push(html("h3", {}, "operators"), this.pairs(counts.map(([op, n]) => [op, String(n)])));
      out.push(html("p", {}, html("button", { class: "link", click: () => this.app.toggle(item) }, item.open ? "fold it" : "unfold it")));
    } else out.unshift(html("h2", {}, this.value(side, item.value)));
    this.details.replaceChildren(...out);
  }
  showChange(c) {
    const list = (title, nodes) => [html("h3", {}, `${title}: ${nodes.length || "none"}`), ...nodes.slice(0, 60).map(([op, name]) => html("p", {}, html("code", {}, `${op} ${name}`)))];
    const rule = c.rule >= 0 ? this.app.rules[c.rule] : "a difference";
    const equation = c.rule >= 0 ? document.querySelector(`[data-rule="${c.rule}"] .equation`) : null;
    const where = c.rule >= 0 ? document.querySelector(`[data-rule="${c.rule}"] .quiet`) : null;
    this.details.replaceChildren(
      html("h2", {}, `${c.id + 1}. ${rule}`), ...(equation ? [equation.cloneNode(true)] : []), ...(where ? [where.cloneNode(true)] : []),
      ...(c.note ? [html("p", {}, c.note)] : []), ...list("took", c.removed), ...list("brought", c.added),
      html("p", { class: "quiet" }, `goes back to ${c.before.length} nodes of the model before, led to ${c.after.length} of the one after`));
  }
  showFound(text, found, total) {
    const rows = found.map((item) => html("button", { click: () => this.app.choose(item, true) },
      html("span", { class: "quiet" }, `${item.side.name} `), `${item.node ? item.node.op : item.kind} `, html("code", {}, item.node ? item.node.label : item.side.values[item.value].label)));
    this.details.replaceChildren(html("h2", {}, `${total} found for “${text}”`), html("div", { class: "found" }, ...rows),
      ...(total > found.length ? [html("p", { class: "quiet" }, `the first ${found.length} are shown`)] : []));
  }
}
