// Poolings, with channels last inside.

import { Lacks, size } from './host.mjs';
import { padsOf, toFirst, toLast, windowCounts } from './windows.mjs';

const LAST = 'graphopt.channels_last::';

export default function pooling(tf) {
  /** What windows look at: x [n, spatial..., channels] with `value` around it; and how they go. */
  function laid(x, a, value) {
    const dims = x.shape.slice(1, -1);
    const { kernel_shape: kernel, strides = kernel.map(() => 1), dilations = kernel.map(() => 1), ceil_mode: ceil = 0 } = a;
    const extents = kernel.map((k, i) => (k - 1) * dilations[i] + 1);
    const pads = padsOf(a, dims, extents, strides);
    const counts = windowCounts(dims, extents, strides, pads, ceil && (a.auto_pad ?? 'NOTSET') === 'NOTSET');
    // windows of the last place may reach further than the pads
    const ends = dims.map((d, i) => Math.max(pads[i][1], (counts[i] - 1) * strides[i] + extents[i] - d - pads[i][0]));
    const around = pads.map(([before], i) => [before, ends[i]]);
    const y = around.some(([p, q]) => p || q) ? tf.pad(x, [[0, 0], ...around, [0, 0]], value) : x;
    return { y, dims, kernel, strides, dilations, pads, counts };
  }

  /** Windows of one or two spatial dims by `kernel`, a function of TensorFlow.js; others element by element with `combine`. */
  function pooled({ y, kernel, strides, dilations, counts }, native, combine) {
    if (kernel.length < 3 && dilations.every((d) => d === 1)) {
      const one = kernel.length === 1;
      const image = one ? tf.expandDims(y, 1) : y;
      const z = native(image, one ? [1, ...kernel] : kernel, one ? [1, ...strides] : strides);
      const fit = tf.slice(z, [0, 0, 0, 0], [z.shape[0], ...(one ? [1, ...counts] : counts), z.shape[3]]);
      return one ? tf.squeeze(fit, [1]) : fit;
    }
    if (y.rank > 5) throw new Lacks(`pooling over ${kernel.length} spatial dims`);
    let all;
    const whole = counts.map((n, i) => (n - 1) * strides[i] + 1);
    for (let k = 0; k < size(kernel); k++) {
      const at = [];
      for (let i = kernel.length - 1, rest = k; i >= 0; rest = Math.floor(rest / kernel[i]), i--) at[i] = (rest % kernel[i]) * dilations[i];
      const begin = [0, ...at, 0];
      const part = tf.stridedSlice(y, begin, [y.shape[0], ...whole.map((n, i) => at[i] + n), y.shape[y.rank - 1]], [1, ...strides, 1]);
      all = all === undefined ? part : combine(all, part);
    }
    return all;
  }

  const largest = (x, a) => pooled(laid(x, a, -Infinity), (t, k, s) => tf.maxPool(t, k, s, 'valid'), tf.maximum);
  /** Sums over windows. */
  const summed = (where) => pooled(where, (t, k, s) => tf.mul(tf.avgPool(t, k, s, 'valid'), size(k)), tf.add);

  function average(x, a) {
    const where = laid(x, a, 0);
    // how many elements of each window count: those of the image, or of the pads too, but never of what lies behind these
    const include = a.count_include_pad ?? 0;
    const perAxis = where.counts.map((n, i) => Float32Array.from({ length: n }, (_, j) => {
      const [before, after] = where.pads[i];
      const [low, high] = include ? [-before, where.dims[i] + after] : [0, where.dims[i]];
      let found = 0;
      for (let k = 0; k < where.kernel[i]; k++) {
        const at = j * where.strides[i] - before + k * where.dilations[i];
        if (at >= low && at < high) found++;
      }
      return found;
    }));
    const counts = perAxis.reduce((t, counted, i) => {
      const shape = [1, ...perAxis.map((_, axis) => (axis === i ? counted.length : 1)), 1];
      return tf.mul(t, tf.tensor(counted, shape));
    }, tf.scalar(1));
    return tf.div(summed(where), counts);
  }

  function lp(x, a) {
    const { p = 2 } = a;
    const raised = p === 2 ? tf.square(x) : tf.pow(tf.abs(x), p);
    return tf.pow(tf.relu(summed(laid(raised, a, 0))), 1 / p);
  }

  const axes = (x) => x.shape.map((_, i) => i).slice(1, -1);
  const globalLp = (x, { p = 2 }) => tf.pow(tf.sum(tf.pow(tf.abs(x), p), axes(x), true), 1 / p);
  const last = (f) => ([x], a) => f(x, a);
  const first = (f) => ([x], a) => tf.transpose(f(tf.transpose(x, toLast(x.rank)), a), toFirst(x.rank));

  const families = {
    MaxPool: [largest, (a, step) => (step.outputs[1] ? 'it gives no indices' : undefined)],
    AveragePool: [average],
    LpPool: [lp],
    GlobalMaxPool: [(x) => tf.max(x, axes(x), true)],
    GlobalAveragePool: [(x) => tf.mean(x, axes(x), true)],
    GlobalLpPool: [globalLp],
  };
  const table = {};
  for (const [name, [f, refuses]] of Object.entries(families)) {
    table[name] = { run: first(f), refuses };
    for (const n of [1, 2, 3]) table[`${LAST}${name}${n}d`] = { run: last(f), refuses };
  }
  return table;
}
