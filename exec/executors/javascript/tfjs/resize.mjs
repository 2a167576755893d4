// Resize: an axis at a time, each new element a weighted sum of a few old ones.

import { axisOf, values } from './host.mjs';

/** From a new place to an old one, by coordinate_transformation_mode; [from, to] is a region of interest. */
const PLACES = {
  half_pixel: (x, s) => (x + 0.5) / s - 0.5,
  half_pixel_symmetric: (x, s, n, m) => {
    const offset = (n / 2) * (1 - m / (s * n));
    return offset + (x + 0.5) / s - 0.5;
  },
  pytorch_half_pixel: (x, s, n, m) => (m > 1 ? (x + 0.5) / s - 0.5 : 0),
  align_corners: (x, s, n, m) => (m > 1 ? (x * (n - 1)) / (s * n - 1) : 0), // of the length before it was rounded
  tf_half_pixel_for_nn: (x, s) => (x + 0.5) / s,
  asymmetric: (x, s) => x / s,
  tf_crop_and_resize: (x, s, n, m, [from, to]) => (m > 1 ? from * (n - 1) + (x * (to - from) * (n - 1)) / (m - 1) : 0.5 * (from + to) * (n - 1)),
};
const ROUNDED = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5), round_prefer_ceil: (x) => Math.floor(x + 0.5), floor: Math.floor, ceil: Math.ceil,
};

/** Weights of elements at a distance. */
function cubic(x, a) {
  const d = Math.abs(x);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}
const linear = (x) => Math.max(0, 1 - Math.abs(x));

export default function resize(tf) {
  /** Along one axis, of n elements to m. */
  function along(x, axis, m, scale, a, region) {
    const n = x.shape[axis];
    const { mode = 'nearest', coordinate_transformation_mode: how = 'half_pixel', nearest_mode: nearest = 'round_prefer_floor' } = a;
    const { cubic_coeff_a: coefficient = -0.75, exclude_outside: exclude = 0, antialias = 0, extrapolation_value: outer = 0 } = a;
    const f32 = Math.fround;
    const places = Array.from({ length: m }, (_, j) => PLACES[how](j, scale, n, m, region));
    const inside = places.map((p) => how !== 'tf_crop_and_resize' || (p >= 0 && p <= n - 1));
    let y;
    if (mode === 'nearest') {
      const from = places.map((p) => Math.min(Math.max(ROUNDED[nearest](f32(p)), 0), n - 1));
      y = from.length === n && from.every((p, i) => p === i) ? x : tf.gather(x, tf.tensor1d(from, 'int32'), axis);
    } else {
      const narrow = antialias && scale < 1 ? scale : 1; // a window that grows as pixels become fewer
      const reach = Math.ceil((mode === 'cubic' ? 2 : 1) / narrow);
      const weigh = mode === 'cubic' ? (d) => cubic(d, coefficient) : linear;
      const taps = places.map((p) => {
        const all = [];
        for (let k = Math.floor(p) - reach + 1; k <= Math.floor(p) + reach; k++) {
          const weight = exclude && (k < 0 || k >= n) ? 0 : weigh((k - p) * narrow);
          all.push([Math.min(Math.max(k, 0), n - 1), weight]);
        }
        const total = antialias || exclude ? all.reduce((t, [, w]) => t + w, 0) : 1;
        return all.map(([k, w]) => [k, w / total]);
      });
      const shape = x.shape.map((_, i) => (i === axis ? m : 1));
      for (let t = 0; t < 2 * reach; t++) {
        const weights = taps.map((tap) => tap[t][1]);
        if (weights.every((w) => w === 0)) continue;
        const part = tf.gather(x, tf.tensor1d(taps.map((tap) => tap[t][0]), 'int32'), axis);
        const weighted = weights.every((w) => w === 1) ? part : tf.mul(part, tf.tensor(weights, shape));
        y = y === undefined ? weighted : tf.add(y, weighted);
      }
    }
    if (inside.every((i) => i)) return y;
    const mask = tf.tensor(inside, x.shape.map((_, i) => (i === axis ? m : 1)), 'bool');
    return tf.where(tf.broadcastTo(mask.cast('int32'), y.shape).cast('bool'), y, tf.fill(y.shape, outer));
  }

  function resized([x, roi, scales, sizes], a) {
    const given = sizes === undefined ? undefined : values(sizes);
    const axes = (a.axes ?? x.shape.map((_, i) => i)).map((axis) => axisOf(axis, x.rank));
    const region = values(roi) ?? [];
    const policy = a.keep_aspect_ratio_policy ?? 'stretch';
    let factors = given ? given.map((m, i) => m / x.shape[axes[i]]) : values(scales);
    let lengths = given ?? factors.map((s, i) => Math.floor(x.shape[axes[i]] * s + 1e-9));
    if (given && policy !== 'stretch') {
      const one = (policy === 'not_larger' ? Math.min : Math.max)(...factors);
      factors = factors.map(() => one);
      lengths = axes.map((axis) => Math.floor(x.shape[axis] * one + 0.5));
    }
    const n = axes.length;
    return axes.reduce((y, axis, i) => {
      const part = region.length ? [region[i], region[n + i]] : [0, 1];
      const whole = lengths[i] === y.shape[axis] && factors[i] === 1 && part[0] === 0 && part[1] === 1;
      return whole ? y : along(y, axis, lengths[i], factors[i], a, part);
    }, x);
  }

  return {
    Resize: {
      run: resized,
      refuses: ({ mode = 'nearest', coordinate_transformation_mode: how = 'half_pixel', antialias = 0 }) => {
        if (!(how in PLACES)) return `coordinate_transformation_mode '${how}'`;
        return antialias && mode === 'nearest' ? 'antialias of nearest elements' : undefined;
      },
    },
  };
}
