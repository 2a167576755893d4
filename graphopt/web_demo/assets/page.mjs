// The page: starts the worker (runner.mjs), and shows what it tells. demo.json says what lies in the folder.

import { apart, chart, element, input, middle, rows, size, sizes, time } from './show.mjs';

const at = (id) => document.getElementById(id);
const [closed, page, problem, status, again] = ['closed', 'page', 'problem', 'status', 'again'].map(at);
closed.hidden = true;
page.hidden = false;

const NAMES = ['original', 'optimized'];
const ENOUGH = 8; // pairs of runs, to call one model faster
const PROVIDERS = { wasm: 'WebAssembly', webgpu: 'WebGPU' };
let demo, worker;
const loading = {}; // milliseconds, of each model

function fail(why) {
  problem.textContent = why;
  problem.hidden = false;
  status.textContent = 'stopped';
  again.disabled = false;
  document.documentElement.dataset.state = 'failed';
}

function count(before, after) {
  const text = (n) => n.toLocaleString('en');
  return before === after ? text(after) : `${text(before)} → ${text(after)}`;
}

function change(before, after) {
  if (before === after) return 'unchanged';
  const part = (100 * (after - before)) / before;
  return `${part > 0 ? '+' : '−'}${Math.abs(part).toFixed(Math.abs(part) < 10 ? 1 : 0)} %`;
}

async function start() {
  const answers = await Promise.all(['demo.json', 'inputs.bin'].map((file) => fetch(file)));
  for (const a of answers) if (!a.ok) throw new Error(`${a.url} is not there (${a.status} ${a.statusText})`);
  demo = await answers[0].json();
  const bytes = await answers[1].arrayBuffer();
  const [a, b] = demo.models;
  document.title = `${demo.title} · graphopt`;
  at('title').textContent = demo.title;
  at('version').textContent = demo.graphopt;
  at('nodes').textContent = count(a.nodes, b.nodes);
  at('nodes-note').textContent = `${change(a.nodes, b.nodes)}, level ${demo.level}, in ${demo.seconds.toFixed(2)} s`;
  at('bytes').textContent = sizes(a.bytes, b.bytes);
  at('bytes-note').textContent = `${change(a.bytes, b.bytes)}, of them constants ${size(b.constants)}`;
  const most = Math.max(...demo.operators.flatMap((row) => row.slice(1)));
  rows(at('operators'), demo.operators.map(([op, x, y]) => [element('code', {}, op), x.toLocaleString('en'), y.toLocaleString('en'), bars(x / most, y / most)]));
  let place = 0;
  at('inputs').replaceChildren(...demo.inputs.map((i) => input(i, new Uint8Array(bytes.slice(place, (place += i.bytes))))));
  for (const p of demo.providers) at('provider').append(element('option', { value: p }, PROVIDERS[p]));
  const wanted = Number(new URLSearchParams(location.search).get('seconds')); // as in ?seconds=60
  if (wanted > 0) at('seconds').append(element('option', { value: wanted, selected: '' }, `${wanted} s`));
  at('choice').hidden = demo.providers.length < 2;
  at('provider').addEventListener('change', open);
  again.addEventListener('click', () => (worker ? measure() : open()));
  open();
}

function bars(x, y) {
  const bar = (name, part) => {
    const made = element('i', { class: name });
    made.style.width = `${100 * part}%`;
    return made;
  };
  return element('td', { class: 'bars', 'aria-hidden': 'true' }, bar('original', x), bar('optimized', y));
}

function began() {
  problem.hidden = true;
  again.disabled = true;
  document.documentElement.dataset.state = 'running';
}

function open() {
  worker?.terminate();
  began();
  const provider = at('provider').value;
  at('sub').textContent = `original and optimized in this browser · ${demo.runtime.replace('@', ' ')} on ${PROVIDERS[provider]}${provider === 'wasm' ? ', one thread' : ''}`;
  worker = new Worker('runner.mjs', { type: 'module' });
  worker.addEventListener('message', ({ data }) => heard[data.stage](data));
  worker.addEventListener('error', (e) => lost(e.message || 'the worker does not start'));
  worker.postMessage({ open: { provider, bundle: demo.bundle, inputs: demo.inputs }, seconds: Number(at('seconds').value) });
}

function lost(why) {
  worker.terminate();
  worker = null; // the next try begins anew
  fail(why);
}

function measure() {
  began();
  worker.postMessage({ seconds: Number(at('seconds').value) });
}

const heard = {
  fetching({ name, size: got }) {
    const whole = demo.models[NAMES.indexOf(name)].bytes;
    status.textContent = `fetching the ${name} model, ${size(got)} of ${size(whole)}`;
    at('progress').value = got / whole;
  },
  starting() {
    status.textContent = 'starting the runtime';
  },
  opening({ name }) {
    status.textContent = `opening the ${name} model`;
  },
  ready({ name, ms }) {
    loading[name] = ms;
    at('progress').value = 0;
  },
  outputs({ rows: found }) {
    const close = (r) => !r.other && (r.exact ? !r.unequal : r.relative <= demo.tolerance);
    const told = (r) => (r.other ? `is ${r.other}` : r.exact ? `${r.unequal} of ${r.count} unequal` : apart(r.absolute));
    rows(at('outputs'), found.map((r) => [
      element('code', {}, r.name), `${r.type} [${r.dims.join(' × ')}]`, told(r), r.exact || r.other ? '' : apart(r.relative),
      element('td', { class: close(r) ? 'good' : 'bad' }, close(r) ? '✓ same' : '✗ differs'),
    ]));
    at('outputs-note').textContent = `Relative to the largest number of the original's output, or 1; up to ${apart(demo.tolerance)} counts as the same.`;
    const all = found.every(close);
    at('same').textContent = all ? 'yes' : 'no';
    at('same').className = `big ${all ? 'good' : 'bad'}`;
    const worst = Math.max(0, ...found.filter((r) => !r.exact && !r.other).map((r) => r.relative));
    at('same-note').textContent = worst === 0 && all ? 'every element is equal' : `largest relative difference ${apart(worst)}`;
  },
  times({ times, repeats, part, done }) {
    at('progress').value = part;
    const pairs = times.original.length;
    status.textContent = `${done ? '' : 'measuring: '}${pairs} pairs of runs by turns${repeats > 1 ? `, each of ${repeats} in a row` : ''}`;
    at('chart').replaceChildren(chart(times, Math.max(280, at('chart').clientWidth)));
    rows(at('latency'), NAMES.map((name) => {
      const { low, median, high } = middle(times[name]);
      return [name, time(median), `${time(low)} – ${time(high)}`, (times[name].length * repeats).toLocaleString('en'), time(loading[name])];
    }));
    const ratio = middle(times.original.map((ms, i) => ms / times.optimized[i])); // of runs beside each other
    const sure = pairs >= ENOUGH && (ratio.low > 1 || ratio.high < 1);
    at('speed').textContent = `${ratio.median.toFixed(2)}×`;
    at('speed').className = `big ${!sure ? '' : ratio.median > 1 ? 'good' : 'bad'}`;
    const verdict = pairs < ENOUGH ? 'few runs' : !sure ? 'no clear difference' : ratio.median > 1 ? 'as fast as the original' : 'of the original’s speed';
    at('speed-note').textContent = `${verdict}; half of the pairs lie in ${ratio.low.toFixed(2)} – ${ratio.high.toFixed(2)}`;
    if (done) {
      again.disabled = false;
      document.documentElement.dataset.state = 'done';
    }
  },
  failed: ({ why }) => lost(why),
};

start().catch((e) => fail(String(e?.message ?? e)));
