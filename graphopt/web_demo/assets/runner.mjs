// The worker that runs both models, by turns, and tells what it finds: {stage, ...}, see page.mjs.

import { elements } from './message.mjs';

const NAMES = ['original', 'optimized'];
const LEAST = 2; // milliseconds between two looks at the clock, which in browsers is a coarse one
const PAIRS = 3; // at least, however long they take

let ort, feeds;
const sessions = {};
const tell = (stage, told = {}) => postMessage({ stage, ...told });

async function fetched(file, progress = () => {}) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} is not there (${response.status} ${response.statusText})`);
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress((size += value.byteLength));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function open({ provider, bundle, inputs }) {
  if (provider === 'webgpu' && !(await navigator.gpu?.requestAdapter())) {
    throw new Error('This browser offers no WebGPU adapter; choose WebAssembly.');
  }
  ort = await import(`./ort/${bundle}`);
  ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'fatal';
  const all = await fetched('inputs.bin');
  let at = 0;
  feeds = Object.fromEntries(
    inputs.map(({ name, type, dims, text, bytes: n }) => {
      const data = type === 'string' ? text : elements(type, all.slice(at, (at += n)));
      return [name, new ort.Tensor(type, data, dims)];
    }),
  );
  tell('starting');
  await ort.InferenceSession.create(new Uint8Array(), { executionProviders: [provider], logSeverityLevel: 4 }).catch(() => {}); // which is no part of a model's loading
  const results = {};
  for (const name of NAMES) {
    const model = await fetched(`models/${name}.onnx`, (size) => tell('fetching', { name, size }));
    tell('opening', { name });
    const start = performance.now();
    sessions[name] = await attempt(name, 'load', () => ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 4 }));
    tell('ready', { name, ms: performance.now() - start });
    results[name] = await attempt(name, 'run', () => sessions[name].run(feeds));
  }
  tell('outputs', { rows: sessions.original.outputNames.map((n) => difference(n, results.original[n], results.optimized[n])) });
}

async function attempt(name, verb, call) {
  try {
    return await call();
  } catch (e) {
    throw new Error(`The ${name} model does not ${verb}: ${e?.message ?? e}`);
  }
}

/** How far two outputs lie apart: the largest difference, and over max(1, the largest number of the first), as graphopt.verify has it. */
function difference(name, want, got) {
  const row = { name, type: want.type, dims: want.dims, unequal: 0, absolute: 0, relative: 0 };
  if (want.type !== got?.type || String(want.dims) !== String(got.dims)) return { ...row, other: `${got?.type}[${got?.dims}]` };
  const [a, b] = [numbers(want), numbers(got)];
  const float = want.type.startsWith('float');
  let largest = 1;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i] || (a[i] !== a[i] && b[i] !== b[i])) {
      if (float && Math.abs(a[i]) < Infinity) largest = Math.max(largest, Math.abs(a[i]));
      continue;
    }
    row.unequal++;
    if (!float) continue;
    const apart = Math.abs(a[i] - b[i]);
    row.absolute = Math.max(row.absolute, apart < Infinity ? apart : Infinity); // one of them is no number
    if (Math.abs(a[i]) < Infinity) largest = Math.max(largest, Math.abs(a[i]));
  }
  return { ...row, exact: !float, relative: row.absolute / largest, count: a.length };
}

/** Elements that can be computed with; float16 may come as bits. */
function numbers(tensor) {
  if (tensor.type !== 'float16' || !(tensor.data instanceof Uint16Array)) return tensor.data;
  return Float64Array.from(tensor.data, (h) => {
    const exponent = (h >> 10) & 31;
    const fraction = (h & 1023) / 1024;
    const size = exponent === 31 ? (fraction ? NaN : Infinity) : exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
    return h >> 15 ? -size : size;
  });
}

/** Both models by turns for some seconds, the first one alternating; milliseconds of a run each. */
async function measure({ seconds }) {
  const times = { original: [], optimized: [] };
  const run = async (name, repeats) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await sessions[name].run(feeds);
    return (performance.now() - start) / repeats;
  };
  let slowest = Infinity;
  for (let i = 0; i < 3; i++) slowest = Math.min(slowest, Math.max(await run('original', 1), await run('optimized', 1), 0.02));
  const repeats = Math.ceil(Math.max(1, LEAST / slowest));
  const start = performance.now();
  for (let told = start, pairs = 0, done = false; !done; pairs++) {
    for (const name of pairs % 2 ? [...NAMES].reverse() : NAMES) times[name].push(await run(name, repeats));
    const now = performance.now();
    done = now - start > seconds * 1000 && pairs + 1 >= PAIRS;
    if (done || now - told > 150) {
      tell('times', { times, repeats, part: Math.min(1, (now - start) / seconds / 1000), done });
      told = now;
    }
  }
}

onmessage = async ({ data }) => {
  try {
    if (data.open) await open(data.open);
    await measure(data);
  } catch (e) {
    tell('failed', { why: String(e?.message ?? e) });
  }
};
