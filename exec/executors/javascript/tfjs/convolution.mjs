// Convolutions, with channels last inside: the only layout that TensorFlow.js computes in. One spatial dim is two, the first of 1.

import { padsOf, toFirst, toLast } from './windows.mjs';

const LAST = 'graphopt.channels_last::';

export default function convolution(tf) {
  /** Kernels [spatial..., in, out] of weights [out, in, spatial...], zeros between elements as `dilations` has them. */
  function filters(w, dilations) {
    return sparse(tf.transpose(w, [...dilations.map((_, i) => i + 2), 1, 0]), dilations);
  }

  /** A tensor with zeros between its elements along the first axes, `distances` from one to the next. */
  function sparse(whole, distances) {
    return distances.reduce((t, d, axis) => {
      if (d === 1 || t.shape[axis] === 1) return t;
      const n = t.shape[axis];
      const apart = tf.pad(tf.expandDims(t, axis + 1), [...t.shape, 1].map((_, i) => [0, i === axis + 1 ? d - 1 : 0]));
      const long = tf.reshape(apart, t.shape.map((s, i) => (i === axis ? n * d : s)));
      return tf.slice(long, long.shape.map(() => 0), long.shape.map((s, i) => (i === axis ? (n - 1) * d + 1 : s)));
    }, whole);
  }

  const filled = (list, spatial, value = 1) => (spatial === 1 ? [value, ...list] : list);

  /** Of x [n, spatial..., channels]; `pads` are pairs. */
  function convolved(x, w, bias, { strides, dilations, pads, group }, step) {
    const spatial = w.rank - 2;
    const channels = x.shape[x.rank - 1];
    const outputs = w.shape[0];
    const perGroup = w.shape[1];
    const depthwise = perGroup === 1 && group === channels && spatial < 3 && group > 1;
    const apart = strides.some((s) => s > 1) || spatial === 3 || group > 1; // it has no dilations with strides
    const zeros = dilations.map((d) => (apart ? d : 1));
    const rates = filled(dilations.map((d) => (apart ? 1 : d)), spatial);
    const by = filled(strides, spatial);
    const kernels = step.once([1], () => {
      const f = filters(w, zeros);
      const k = f.shape.slice(0, -2);
      const tall = filled(k, spatial);
      if (depthwise) return [tf.reshape(tf.transpose(f, [...k.map((_, i) => i), k.length + 1, k.length]), [...tall, channels, outputs / group])];
      const whole = tf.reshape(f, [...tall, perGroup, outputs]);
      return group === 1 ? [whole] : tf.split(whole, group, whole.rank - 1);
    });
    let image = spatial === 1 ? tf.expandDims(x, 1) : x;
    const around = spatial === 1 ? [[0, 0], ...pads] : pads;
    let pad = 'valid';
    if (around.some(([a, b]) => a || b)) {
      if (spatial === 3) image = tf.pad(image, [[0, 0], ...around, [0, 0]]);
      else pad = [[0, 0], ...around, [0, 0]];
    }
    const one = (part, k) => (spatial === 3 ? tf.conv3d(part, k, by, 'valid') : tf.conv2d(part, k, by, pad, 'NHWC', rates));
    let y;
    if (depthwise) y = tf.depthwiseConv2d(image, kernels[0], by, pad, 'NHWC', rates);
    else if (group === 1) y = one(image, kernels[0]);
    else y = tf.concat(tf.split(image, group, image.rank - 1).map((part, i) => one(part, kernels[i])), image.rank - 1);
    if (bias !== undefined) y = tf.add(y, bias);
    return spatial === 1 ? tf.squeeze(y, [1]) : y;
  }

  function conv(x, w, bias, a, step) {
    const spatial = w.rank - 2;
    const ones = new Array(spatial).fill(1);
    const { strides = ones, dilations = ones, group = 1 } = a;
    const extents = w.shape.slice(2).map((k, i) => (k - 1) * dilations[i] + 1);
    const pads = padsOf(a, x.shape.slice(1, -1), extents, strides);
    return convolved(x, w, bias, { strides, dilations, pads, group }, step);
  }

  /** Every input element spreads over a window: all of it is computed, and what pads take away is cut off. */
  function transposed(x, w, bias, a, step) {
    const spatial = w.rank - 2;
    const ones = new Array(spatial).fill(1);
    const { strides = ones, dilations = ones, group = 1, output_shape: wanted, output_padding: more = ones.map(() => 0), auto_pad: mode = 'NOTSET' } = a;
    const extents = w.shape.slice(2).map((k, i) => (k - 1) * dilations[i] + 1);
    const dims = x.shape.slice(1, -1);
    const full = dims.map((d, i) => (d - 1) * strides[i] + extents[i]);
    let begin = ones.map((_, i) => a.pads?.[i] ?? 0);
    let out = full.map((f, i) => f + more[i] - begin[i] - (a.pads?.[i + spatial] ?? 0));
    if (wanted || mode.startsWith('SAME')) {
      out = wanted ? wanted.slice(-spatial) : dims.map((d, i) => d * strides[i]);
      const total = out.map((d, i) => full[i] + more[i] - d);
      begin = total.map((t) => (mode === 'SAME_UPPER' ? Math.floor(t / 2) : t - Math.floor(t / 2)));
    } else if (mode === 'VALID') {
      [begin, out] = [ones.map(() => 0), full.map((f, i) => f + more[i])];
    }
    const kernels = step.once([1], () => {
      const f = filters(w, dilations); // [spatial..., out, in]
      const tall = tf.reshape(f, [...filled(f.shape.slice(0, -2), spatial), ...f.shape.slice(-2)]);
      return group === 1 ? [tall] : tf.split(tall, group, tall.rank - 1);
    });
    const image = spatial === 1 ? tf.expandDims(x, 1) : x;
    const parts = group === 1 ? [image] : tf.split(image, group, image.rank - 1);
    const shape = [x.shape[0], ...filled(full, spatial), w.shape[1]];
    const by = filled(strides, spatial);
    // the WebAssembly kernel for three dims leaves elements as they lie in memory where no window comes
    const volume = (part, k) => {
      const apart = sparse(tf.transpose(part, [1, 2, 3, 0, 4]), strides);
      const room = extents.map((e) => [e - 1, e - 1]);
      const turned = tf.transpose(tf.reverse(k, [0, 1, 2]), [0, 1, 2, 4, 3]);
      return tf.conv3d(tf.pad(tf.transpose(apart, [3, 0, 1, 2, 4]), [[0, 0], ...room, [0, 0]]), turned, 1, 'valid');
    };
    const all = parts.map((part, i) => (spatial === 3 ? volume(part, kernels[i]) : tf.conv2dTranspose(part, kernels[i], shape, by, 'valid')));
    let y = all.length === 1 ? all[0] : tf.concat(all, image.rank - 1);
    if (spatial === 1) y = tf.squeeze(y, [1]);
    // more than there is: zeros; less: cut off
    const missing = ones.map((_, i) => [Math.max(0, -begin[i]), Math.max(0, begin[i] + out[i] - full[i])]);
    if (missing.some(([p, q]) => p || q)) y = tf.pad(y, [[0, 0], ...missing, [0, 0]]);
    if (y.shape.slice(1, -1).some((d, i) => d !== out[i])) y = tf.slice(y, [0, ...begin.map((b) => Math.max(0, b)), 0], [y.shape[0], ...out, y.shape[y.rank - 1]]);
    return bias === undefined ? y : tf.add(y, bias);
  }

  const last = (f) => ([x, w, b], a, step) => f(x, w, b, a, step);
  const first = (f) => ([x, w, b], a, step) => tf.transpose(f(tf.transpose(x, toLast(x.rank)), w, b, a, step), toFirst(x.rank));
  const table = { Conv: first(conv), ConvTranspose: first(transposed) };
  for (const n of [1, 2, 3]) {
    table[`${LAST}Conv${n}d`] = last(conv);
    table[`${LAST}ConvTranspose${n}d`] = last(transposed);
  }
  return table;
}
