// ONNX Runtime Web in Node.js, driven over pipes: see web.py, which starts it and says what the messages look like.
//
//   node web_runner.mjs <folder with onnxruntime-web> <threads> <optimize: all|disabled>
//
// A message is a line of JSON and, after it, the bytes that it announces. Nothing is fetched from anywhere.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { readSync, writeSync } from 'node:fs';

const [folder, threads, optimize] = process.argv.slice(2);
const output = 1;
console.log = console.info = console.warn = console.debug = () => {}; // stdout is for messages
const ort = createRequire(pathToFileURL(`${folder}/`))('onnxruntime-web');
ort.env.wasm.numThreads = Number(threads);
ort.env.logLevel = 'fatal';

let held = Buffer.alloc(0);
function read(count) {
  const parts = [held];
  let have = held.length;
  while (have < count) {
    const part = Buffer.alloc(Math.max(1 << 16, count - have));
    let n = 0;
    try {
      n = readSync(0, part);
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e;
      continue;
    }
    if (n === 0) process.exit(0);
    parts.push(part.subarray(0, n));
    have += n;
  }
  const all = Buffer.concat(parts);
  held = all.subarray(count);
  return all.subarray(0, count);
}

function message() {
  const size = read(4).readUInt32LE();
  const head = JSON.parse(read(size).toString());
  head.data = (head.sizes ?? []).map((n) => Uint8Array.from(read(n)));
  return head;
}

function answer(head, data = []) {
  const text = Buffer.from(JSON.stringify({ ...head, sizes: data.map((d) => d.byteLength) }));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(text.length);
  for (const part of [size, text, ...data]) {
    for (let at = 0; at < part.byteLength; ) {
      try {
        at += writeSync(output, part, at);
      } catch (e) {
        if (e.code !== 'EAGAIN') throw e;
      }
    }
  }
}

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
  int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
};

function tensor({ type, dims, text }, data) {
  if (type === 'string') return new ort.Tensor('string', text, dims);
  const kind = ARRAYS[type];
  const array = new kind(data.buffer, data.byteOffset, data.byteLength / kind.BYTES_PER_ELEMENT);
  return new ort.Tensor(type, array, dims);
}

function bytes(t) {
  if (t.type === 'string') return Buffer.alloc(0);
  return new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);
}

let session;
for (;;) {
  const asked = message();
  try {
    if (asked.load) {
      await session?.release();
      session = undefined;
      session = await ort.InferenceSession.create(asked.data[0], {
        executionProviders: ['wasm'], graphOptimizationLevel: optimize, logSeverityLevel: 4,
      });
      answer({ inputs: session.inputNames, outputs: session.outputNames });
    } else {
      const feeds = Object.fromEntries(asked.feeds.map((f, i) => [f.name, tensor(f, asked.data[i])]));
      const results = await session.run(feeds);
      const named = session.outputNames.map((name) => [name, results[name]]);
      answer(
        { results: named.map(([name, t]) => ({ name, type: t.type, dims: t.dims, text: t.type === 'string' ? t.data : null })) },
        named.map(([, t]) => bytes(t)),
      );
    }
  } catch (e) {
    answer({ error: String(e?.message ?? e) });
  }
}
