// What ONNX Runtime Web does with the messages of web.py, in Node.js and in browsers: it holds one session at a time.

import { bytes, elements } from './message.mjs';

/**
 * What answers `{load: true}` with a model, and `{feeds: [{name, type, dims, text?}]}` with their bytes.
 * @param ort the package
 * @param provider 'wasm' or 'webgpu'
 * @param optimize 'all' or 'disabled'
 */
export function sessions(ort, { provider, threads, optimize }) {
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'fatal';
  let session;

  async function load(model) {
    await session?.release();
    session = undefined;
    session = await ort.InferenceSession.create(model, {
      executionProviders: [provider], graphOptimizationLevel: optimize, logSeverityLevel: 4,
    });
    return [{ inputs: session.inputNames, outputs: session.outputNames }, []];
  }

  async function run(heads, buffers) {
    const tensor = ({ type, dims, text }, data) => new ort.Tensor(type, type === 'string' ? text : elements(type, data), dims);
    const feeds = Object.fromEntries(heads.map((h, i) => [h.name, tensor(h, buffers[i])]));
    const start = performance.now();
    const results = await session.run(feeds);
    const milliseconds = performance.now() - start;
    const named = session.outputNames.map((name) => [name, results[name]]);
    return [
      { milliseconds, results: named.map(([name, t]) => ({ name, type: t.type, dims: t.dims, ...(t.type === 'string' && { text: t.data }) })) },
      named.map(([, t]) => (t.type === 'string' ? new Uint8Array() : bytes(t.data))),
    ];
  }

  return (asked, buffers) => (asked.load ? load(buffers[0]) : run(asked.feeds, buffers));
}
