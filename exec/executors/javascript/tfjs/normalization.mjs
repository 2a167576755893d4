// Normalizations and softmax.

import { axisOf } from './host.mjs';

const LAST = 'graphopt.channels_last::';

export default function normalization(tf) {
  /** A parameter of one number a channel as it meets a tensor that has channels at an axis. */
  const along = (t, axis, rank) => tf.reshape(t, Array.from({ length: rank }, (_, i) => (i === axis ? t.size : 1)));
  const shifted = (x, mean, epsilon) => {
    const centred = tf.sub(x, mean.value);
    return tf.mul(centred, tf.rsqrt(tf.add(mean.variance, epsilon)));
  };
  const moments = (x, axes) => {
    const value = tf.mean(x, axes, true);
    return { value, variance: tf.mean(tf.square(tf.sub(x, value)), axes, true) };
  };

  /** With statistics that are given; `channel` is the axis of channels, counted from the front or the end. */
  const batch = (channel) => ([x, scale, bias, mean, variance], { epsilon = 1e-5 }, step) => {
    const axis = channel < 0 ? x.rank - 1 : Math.min(channel, x.rank - 1);
    const [factor, offset] = step.once([1, 2, 3, 4], () => {
      const s = tf.div(scale, tf.sqrt(tf.add(variance, epsilon)));
      return [along(s, axis, x.rank), along(tf.sub(bias, tf.mul(mean, s)), axis, x.rank)];
    });
    return tf.add(tf.mul(x, factor), offset);
  };

  const instance = (channel) => ([x, scale, bias], { epsilon = 1e-5 }) => {
    const axis = channel < 0 ? x.rank - 1 : channel;
    const axes = x.shape.map((_, i) => i).filter((i) => i !== 0 && i !== axis);
    return tf.add(tf.mul(shifted(x, moments(x, axes), epsilon), along(scale, axis, x.rank)), along(bias, axis, x.rank));
  };

  /** Groups of channels of [n, pixels, channels]. */
  function group(x, scale, bias, { epsilon = 1e-5, num_groups: groups }) {
    const [n, pixels, c] = x.shape;
    const parts = tf.reshape(x, [n, pixels, groups, c / groups]);
    const y = tf.reshape(shifted(parts, moments(parts, [1, 3]), epsilon), [n, pixels, c]);
    return tf.add(tf.mul(y, scale), bias);
  }

  const groupFirst = ([x, scale, bias], a) => {
    const [n, c] = x.shape;
    const rows = tf.transpose(tf.reshape(x, [n, c, -1]), [0, 2, 1]);
    return tf.reshape(tf.transpose(group(rows, scale, bias, a), [0, 2, 1]), x.shape);
  };
  const groupLast = ([x, scale, bias], a) => {
    const c = x.shape[x.rank - 1];
    return tf.reshape(group(tf.reshape(x, [x.shape[0], -1, c]), scale, bias, a), x.shape);
  };

  function layer([x, scale, bias], { axis = -1, epsilon = 1e-5 }) {
    const from = axisOf(axis, x.rank);
    const mean = moments(x, x.shape.map((_, i) => i).slice(from));
    const inverse = tf.rsqrt(tf.add(mean.variance, epsilon));
    const y = tf.mul(tf.mul(tf.sub(x, mean.value), inverse), scale);
    return [bias === undefined ? y : tf.add(y, bias), mean.value, inverse];
  }

  function rms([x, scale], { axis = -1, epsilon = 1e-5 }) {
    const axes = x.shape.map((_, i) => i).slice(axisOf(axis, x.rank));
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), axes, true), epsilon))), scale);
  }

  /** Squares of neighbours along the last axis, added up. */
  function local(x, { alpha = 1e-4, beta = 0.75, bias = 1, size: count }) {
    const c = x.shape[x.rank - 1];
    const before = Math.floor((count - 1) / 2);
    const band = tf.tensor(Float32Array.from({ length: c * c }, (_, i) => {
      const from = Math.floor(i / c) - (i % c); // neighbour minus channel
      return from >= -before && from < count - before ? 1 : 0;
    }), [c, c]);
    const sums = tf.reshape(tf.matMul(tf.reshape(tf.square(x), [-1, c]), band), x.shape);
    return tf.div(x, tf.pow(tf.add(tf.mul(sums, alpha / count), bias), beta));
  }

  const channelsLast = (x) => [0, ...x.shape.map((_, i) => i).slice(2), 1];
  const channelsFirst = (x) => [0, x.rank - 1, ...x.shape.map((_, i) => i).slice(1, -1)];

  /** What is computed along the last axis, along any. */
  const onAxis = (f) => ([x], { axis = -1 }) => {
    const from = axisOf(axis, x.rank);
    if (x.size === 0 || x.rank === 0) return x.rank === 0 ? tf.reshape(f(tf.reshape(x, [1])), []) : x.clone();
    if (from === x.rank - 1) return f(x);
    const perm = x.shape.map((_, i) => i);
    [perm[from], perm[x.rank - 1]] = [x.rank - 1, from];
    return tf.transpose(f(tf.transpose(x, perm)), perm);
  };

  const plain = ({ training_mode: training = 0 }, step) => (training || step.outputs.slice(1).some((s) => s) ? 'it has no training mode' : undefined);
  const table = {
    BatchNormalization: { run: batch(1), refuses: plain },
    InstanceNormalization: instance(1),
    GroupNormalization: groupFirst,
    LayerNormalization: layer,
    RMSNormalization: rms,
    LpNormalization: ([x], { axis = -1, p = 2 }) => {
      const norm = p === 1 ? tf.sum(tf.abs(x), axisOf(axis, x.rank), true) : tf.sqrt(tf.sum(tf.square(x), axisOf(axis, x.rank), true));
      return tf.divNoNan(x, tf.broadcastTo(norm, x.shape));
    },
    LRN: ([x], a) => tf.transpose(local(tf.transpose(x, channelsLast(x)), a), channelsFirst(x)),
    Softmax: onAxis((x) => tf.softmax(x)),
    LogSoftmax: onAxis((x) => tf.logSoftmax(x)),
    Hardmax: onAxis((x) => {
      const places = tf.range(0, x.shape[x.rank - 1], 1, 'int32');
      return tf.equal(places, tf.expandDims(tf.argMax(x, x.rank - 1), -1)).cast('float32');
    }),
    [`${LAST}LRN2d`]: ([x], a) => local(x, a),
  };
  for (const n of [1, 2, 3]) {
    table[`${LAST}BatchNormalization${n}d`] = { run: batch(-1), refuses: plain };
    table[`${LAST}InstanceNormalization${n}d`] = instance(-1);
    table[`${LAST}GroupNormalization${n}d`] = groupLast;
  }
  return table;
}
