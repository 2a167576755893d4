/* Places for boxes and edges, from ELK in a worker; where a page may have none, in the page. */

const ELK_OPTIONS = {
  "elk.algorithm": "layered", "elk.direction": "DOWN", "elk.hierarchyHandling": "INCLUDE_CHILDREN",
  "elk.edgeRouting": "ORTHOGONAL", "elk.layered.spacing.nodeNodeBetweenLayers": "30", "elk.spacing.nodeNode": "22",
  "elk.spacing.edgeNode": "12", "elk.spacing.edgeEdge": "8", "elk.layered.spacing.edgeNodeBetweenLayers": "12",
  "elk.layered.thoroughness": "2", "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
  "elk.layered.mergeEdges": "true", "elk.json.edgeCoords": "ROOT", "elk.json.shapeCoords": "ROOT",
};
const HOLDER_OPTIONS = { "elk.padding": "[top=30,left=14,bottom=14,right=14]" };

async function unpacked(id) {
  const letters = atob(document.getElementById(id).textContent.trim()), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

/* One engine for both models: starting it, and warming it up, takes as long as a layout. */
let started = null;
function engine() {
  started ||= unpacked("worker").then((text) => {
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    try {
      const worker = new Worker(url);
      return new ELK({ workerFactory: () => worker });
    } catch {
      return inPage(url).then((Engine) => new ELK({ workerFactory: () => new Engine(url) }));
    }
  });
  return started;
}
function inPage(url) {
  return new Promise((done, failed) => {
    window.module = { exports: {} };
    window.exports = window.module.exports;
    const script = Object.assign(document.createElement("script"), { src: url, onerror: failed });
    script.onload = () => done(window.module.exports.Worker);
    document.head.append(script);
  });
}

const pen = document.createElement("canvas").getContext("2d");
function widthOf(text, size, bold) {
  pen.font = `${bold ? "600 " : ""}${size}px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif`;
  return pen.measureText(text).width;
}
const cut = (text, n) => (text.length > n ? `…${text.slice(1 - n)}` : text);

/* The lines of a box, and how large it is. */
function measure(item) {
  if (!item.lines) {
    if (item.kind === "node") {
      const { op, label } = item.node;
      item.lines = [op.split("::").pop(), cut(label.split("/").pop() || label, 26)];
    } else if (item.children) {
      const what = item.kind === "stack" ? `${item.children.length} blocks, ${item.size} nodes` : `${item.size} nodes`;
      item.lines = [cut(item.title, 40), what];
    } else item.lines = [cut(item.side.values[item.value].label, 30), item.kind];
    item.width = Math.round(Math.max(58, widthOf(item.lines[0], 12, true) + 22, widthOf(item.lines[1], 10) + 22));
    item.height = item.children ? 46 : 36;
  }
  return item;
}

function elkItem(item) {
  if (item.children && item.open)
    return { id: item.key, children: item.children.map(elkItem), layoutOptions: HOLDER_OPTIONS };
  const { width, height } = measure(item);
  return { id: item.key, width, height };
}

/* Lay out what a side shows: items get x, y, w, h; edges their points. */
async function layout(side) {
  const elk = await engine();
  const edges = side.edges();
  const graph = {
    id: "root", layoutOptions: ELK_OPTIONS, children: side.root.children.map(elkItem),
    edges: edges.map((e, i) => ({ id: `e${i}`, sources: [e.from.key], targets: [e.to.key] })),
  };
  const placed = await elk.layout(graph);
  const take = (box) => {
    const item = side.items.get(box.id);
    if (item) Object.assign(item, { x: box.x, y: box.y, w: box.width, h: box.height });
    (box.children || []).forEach(take);
  };
  take(placed);
  placed.edges.forEach((e, i) => {
    const s = (e.sections || [])[0];
    edges[i].points = s ? [s.startPoint, ...(s.bendPoints || []), s.endPoint] : [];
  });
  return { edges: edges.filter((e) => e.points.length), width: placed.width, height: placed.height };
}
