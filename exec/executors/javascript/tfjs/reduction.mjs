// Reductions. Integers are added up outside of TensorFlow.js, where a sum that int32 cannot hold is an error.

import { axesOf, int32, offsets, size, stridesOf, values } from './host.mjs';

export default function reduction(tf) {
  /** An operator from what it does with floats along axes, and what it does with integers, beginning with a number. */
  const reduce = (float, exact, start, scaled = false) => ([x, given], { keepdims = 1, noop_with_empty_axes: noop = 0 }) => {
    const asked = values(given) ?? [];
    if (!asked.length && noop) return x.dtype === 'float32' ? tf.reshape(float(tf.expandDims(x, 0), [0]), x.shape) : x;
    const axes = asked.length ? axesOf(asked, x.rank) : x.shape.map((_, i) => i);
    const shape = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
    const to = keepdims ? shape : x.shape.filter((_, i) => !axes.includes(i));
    if (x.dtype !== 'float32') return tf.tensor(whole(x, shape, exact, start, scaled), to, x.dtype);
    if (!axes.length) return tf.reshape(float(tf.expandDims(x, 0), [0]), to);
    if (x.size === 0) return tf.fill(to, start);
    return tf.reshape(float(x, axes), to);
  };

  function whole(x, shape, exact, start, scaled) {
    const own = stridesOf(shape);
    const data = x.dataSync();
    const out = new Array(size(shape)).fill(start);
    offsets(x.shape, own.map((s, i) => (shape[i] === 1 && x.shape[i] !== 1 ? 0 : s)), (at, i) => (out[at] = exact(out[at], data[i])));
    const count = x.size / Math.max(1, out.length);
    if (x.dtype === 'bool') return Uint8Array.from(out, (v) => v > 0); // of nothing: the least or the greatest
    return Int32Array.from(out, (v) => int32(scaled ? Math.trunc(v / count) : v));
  }

  const sum = (x, axes) => tf.sum(x, axes);

  return {
    ReduceSum: reduce(sum, (a, b) => a + b, 0),
    ReduceMean: reduce((x, axes) => tf.mean(x, axes), (a, b) => a + b, 0, true),
    ReduceMax: reduce((x, axes) => tf.max(x, axes), Math.max, -Infinity),
    ReduceMin: reduce((x, axes) => tf.min(x, axes), Math.min, Infinity),
    ReduceProd: reduce((x, axes) => tf.prod(x, axes), (a, b) => a * b, 1),
    ReduceL1: reduce((x, axes) => sum(tf.abs(x), axes), (a, b) => a + Math.abs(b), 0),
    ReduceL2: reduce((x, axes) => tf.sqrt(sum(tf.square(x), axes)), (a, b) => Math.hypot(a, b), 0),
    ReduceSumSquare: reduce((x, axes) => sum(tf.square(x), axes), (a, b) => a + b * b, 0),
    ReduceLogSum: reduce((x, axes) => tf.log(sum(x, axes)), undefined, -Infinity),
    ReduceLogSumExp: reduce((x, axes) => tf.logSumExp(x, axes), undefined, -Infinity),
  };
}
