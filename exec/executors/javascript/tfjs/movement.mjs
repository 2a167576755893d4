// Operators that move elements, or make shapes and tensors of numbers.

import { Lacks, axisOf, axesOf, integers, scalar, size, values } from './host.mjs';

export default function movement(tf) {
  const shaped = (x, shape) => tf.reshape(x, shape);
  /** Booleans by way of integers: some kernels take numbers only. */
  const asNumbers = (x, f) => (x.dtype === 'bool' ? f(x.cast('int32')).cast('bool') : f(x));

  function reshape([x, target], { allowzero = 0 }) {
    const shape = values(target).map((d, i) => (d === 0 && !allowzero ? x.shape[i] : d));
    const open = shape.indexOf(-1);
    if (open >= 0) {
      shape[open] = 1;
      const rest = size(shape);
      shape[open] = rest === 0 ? 0 : x.size / rest;
    }
    if (size(shape) !== x.size) throw new Error(`[${x.shape}] cannot become [${values(target)}]`);
    return shaped(x, shape);
  }

  function slice([x, starts, ends, axes, steps]) {
    const from = values(starts);
    const to = values(ends);
    const by = values(steps) ?? from.map(() => 1);
    const along = (values(axes) ?? from.map((_, i) => i)).map((a) => axisOf(a, x.rank));
    const begin = x.shape.map(() => 0);
    const count = [...x.shape];
    const step = x.shape.map(() => 1);
    const turned = [];
    along.forEach((axis, i) => {
      const d = x.shape[axis];
      const clamp = (v, low, high) => Math.min(Math.max(v < 0 ? v + d : v, low), high);
      const s = by[i];
      const [a, b] = s > 0 ? [clamp(from[i], 0, d), clamp(to[i], 0, d)] : [clamp(from[i], -1, d - 1), clamp(to[i], -1, d - 1)];
      count[axis] = Math.max(0, Math.ceil((b - a) / s));
      step[axis] = Math.abs(s);
      begin[axis] = s > 0 ? a : d - 1 - a;
      if (s < 0) turned.push(axis);
    });
    if (size(count) === 0) return tf.tensor([], count, x.dtype);
    const y = turned.length ? asNumbers(x, (t) => tf.reverse(t, turned)) : x;
    const whole = count.map((n, axis) => (n - 1) * step[axis] + 1);
    return step.reduce((part, s, axis) => { // its kernel for steps takes integers for floats
      if (s === 1 || count[axis] === 1) return part;
      return tf.gather(part, tf.range(0, whole[axis], s, 'int32'), axis);
    }, tf.slice(y, begin, whole));
  }

  /** Where the elements along an axis come from that is padded. */
  const SOURCES = {
    edge: (i, d) => Math.min(Math.max(i, 0), d - 1),
    reflect: (i, d) => (d === 1 ? 0 : mirrored(((i % (2 * d - 2)) + 2 * d - 2) % (2 * d - 2), d)),
    wrap: (i, d) => ((i % d) + d) % d,
  };
  const mirrored = (i, d) => (i < d ? i : 2 * d - 2 - i);

  function pad([x, amounts, value, axes], { mode = 'constant' }) {
    const given = values(amounts);
    const along = (values(axes) ?? x.shape.map((_, i) => i)).map((a) => axisOf(a, x.rank));
    const pads = x.shape.map(() => [0, 0]);
    along.forEach((axis, i) => (pads[axis] = [given[i], given[i + along.length]]));
    if (mode !== 'constant') {
      return pads.reduce((y, [before, after], axis) => {
        if (before === 0 && after === 0) return y;
        const d = y.shape[axis];
        const from = Array.from({ length: before + d + after }, (_, i) => SOURCES[mode](i - before, d));
        return tf.gather(y, tf.tensor1d(from, 'int32'), axis);
      }, x);
    }
    const begin = pads.map(([before]) => Math.max(0, -before));
    const kept = pads.map(([before, after], axis) => Math.max(0, x.shape[axis] + Math.min(0, before) + Math.min(0, after)));
    const inner = pads.some((p) => Math.min(...p) < 0) ? tf.slice(x, begin, kept) : x;
    const more = pads.map((p) => p.map((n) => Math.max(0, n)));
    if (inner.size === 0) return tf.fill(inner.shape.map((d, i) => d + more[i][0] + more[i][1]), scalar(value, 0), x.dtype);
    return asNumbers(inner, (t) => tf.pad(t, more, scalar(value, 0)));
  }

  function split([x, lengths], { axis = 0, num_outputs: count }, step) {
    const along = axisOf(axis, x.rank);
    const d = x.shape[along];
    const parts = count ?? step.outputs.length;
    const chunk = Math.ceil(d / parts);
    const sizes = values(lengths) ?? Array.from({ length: parts }, (_, i) => Math.min(chunk, Math.max(0, d - i * chunk)));
    let at = 0;
    return sizes.map((n) => {
      const begin = x.shape.map((_, i) => (i === along ? at : 0));
      at += n;
      return n ? tf.slice(x, begin, x.shape.map((s, i) => (i === along ? n : s))) : tf.tensor([], x.shape.map((s, i) => (i === along ? 0 : s)), x.dtype);
    });
  }

  function expand([x, target]) {
    const wanted = values(target);
    const rank = Math.max(wanted.length, x.rank);
    const own = [...new Array(rank - x.rank).fill(1), ...x.shape];
    const to = [...new Array(rank - wanted.length).fill(1), ...wanted].map((d, i) => {
      if (d !== own[i] && d !== 1 && own[i] !== 1) throw new Error(`[${x.shape}] does not broadcast to [${wanted}]`);
      return own[i] === 1 ? d : own[i];
    });
    if (size(to) === 0) return tf.tensor([], to, x.dtype);
    return asNumbers(x, (t) => tf.tile(shaped(t, own), to.map((d, i) => (own[i] === d ? 1 : d))));
  }

  function tile([x, repeats]) {
    const times = values(repeats);
    const shape = x.shape.map((d, i) => d * times[i]);
    return size(shape) === 0 ? tf.tensor([], shape, x.dtype) : asNumbers(x, (t) => tf.tile(t, times));
  }

  function transpose([x], { perm }) {
    const order = perm ?? x.shape.map((_, i) => x.rank - 1 - i);
    // a transposition that moves dims of 1 alone moves nothing
    const moved = order.filter((axis) => x.shape[axis] !== 1);
    const to = order.map((axis) => x.shape[axis]);
    if (x.size === 0 || moved.every((axis, i) => i === 0 || moved[i - 1] < axis)) return shaped(x, to);
    const inner = moved.slice().sort((a, b) => a - b); // dims of 1 aside, so that fewer axes are left
    if (inner.length > 6) throw new Lacks(`a transposition of ${inner.length} axes; 6 are the most`);
    const small = shaped(x, inner.map((axis) => x.shape[axis]));
    return shaped(tf.transpose(small, moved.map((axis) => inner.indexOf(axis))), to);
  }

  function concat(inputs, { axis }) {
    const along = axisOf(axis, inputs[0].rank);
    const parts = inputs.filter((t) => t.size);
    if (!parts.length) {
      const shape = inputs[0].shape.map((d, i) => (i === along ? inputs.reduce((n, t) => n + t.shape[i], 0) : d));
      return tf.tensor([], shape, inputs[0].dtype);
    }
    return parts.length === 1 ? parts[0].clone() : tf.concat(parts, along);
  }

  function squeeze([x, axes]) {
    const gone = axes === undefined ? x.shape.map((d, i) => (d === 1 ? i : -1)) : axesOf(values(axes), x.rank);
    return shaped(x, x.shape.filter((_, i) => !gone.includes(i)));
  }

  function unsqueeze([x, axes]) {
    const shape = [...x.shape];
    for (const axis of axesOf(values(axes), x.rank + values(axes).length)) shape.splice(axis, 0, 1);
    return shaped(x, shape);
  }

  function constantOfShape([shape], { value }) {
    const { type, data } = value ?? { type: 'float32', data: [0] };
    const kind = ['float32', 'bool'].includes(type) ? type : 'int32';
    const dims = values(shape);
    return size(dims) ? tf.fill(dims, Number(data[0]), kind) : tf.tensor([], dims, kind);
  }

  function triangle([x, k], { upper = 1 }) {
    const shift = scalar(k, 0);
    const [rows, columns] = x.shape.slice(-2);
    const keep = new Uint8Array(rows * columns);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) keep[i * columns + j] = upper ? j - i >= shift : j - i <= shift;
    const mask = tf.tensor(keep, [rows, columns], 'bool');
    return asNumbers(x, (t) => tf.where(mask, t, tf.zerosLike(t)));
  }

  function eye([x], { dtype = 1, k = 0 }) {
    const [rows, columns] = x.shape;
    const data = new Float32Array(rows * columns);
    for (let i = 0; i < rows; i++) if (i + k >= 0 && i + k < columns) data[i * columns + i + k] = 1;
    return tf.tensor(data, [rows, columns]).cast({ 1: 'float32', 9: 'bool' }[dtype] ?? 'int32');
  }

  /** Blocks of pixels to channels and back, of [n, h, w, c]. */
  function depthToSpace(x, { blocksize: b, mode = 'DCR' }) {
    const [n, h, w, c] = x.shape;
    const rest = c / (b * b);
    const [dims, perm] = mode === 'DCR' ? [[n, h, w, b, b, rest], [0, 1, 3, 2, 4, 5]] : [[n, h, w, rest, b, b], [0, 1, 4, 2, 5, 3]];
    return shaped(tf.transpose(shaped(x, dims), perm), [n, h * b, w * b, rest]);
  }

  function spaceToDepth(x, { blocksize: b, mode = 'DCR' }) {
    const [n, h, w, c] = x.shape;
    const parts = shaped(x, [n, h / b, b, w / b, b, c]);
    return shaped(tf.transpose(parts, mode === 'DCR' ? [0, 1, 3, 2, 4, 5] : [0, 1, 3, 5, 2, 4]), [n, h / b, w / b, b * b * c]);
  }

  const last = (f) => ([x], a) => f(x, a);
  const first = (f) => ([x], a) => tf.transpose(f(tf.transpose(x, [0, 2, 3, 1]), a), [0, 3, 1, 2]);
  const float = [1, 6, 7, 9, undefined];

  return {
    Identity: ([x]) => x,
    Dropout: {
      run: ([x]) => [x, tf.fill(x.shape, 1, 'bool')],
      refuses: (_, step) => (!step.inputs[2] || step.constant(2)?.dataSync()[0] === 0 ? undefined : 'it has no training mode'),
    },
    Constant: (_, { value }) => tf.tensor(value.data, value.dims, ['float32', 'bool'].includes(value.type) ? value.type : 'int32'),
    Reshape: reshape,
    Flatten: ([x], { axis = 1 }) => {
      const rows = size(x.shape.slice(0, axis < 0 ? axis + x.rank : axis));
      return shaped(x, [rows, rows ? x.size / rows : size(x.shape.slice(axis))]);
    },
    Squeeze: squeeze,
    Unsqueeze: unsqueeze,
    Transpose: transpose,
    Concat: concat,
    Split: split,
    Slice: slice,
    Pad: { run: pad, refuses: ({ mode = 'constant' }) => (mode === 'constant' || mode in SOURCES ? undefined : `mode '${mode}'`) },
    Expand: expand,
    Tile: tile,
    Shape: ([x], { start = 0, end }) => {
      const dims = x.shape.slice(start, end);
      return integers(tf, dims, [dims.length]);
    },
    Size: ([x]) => integers(tf, [x.size], []),
    ConstantOfShape: constantOfShape,
    EyeLike: { run: eye, refuses: ({ dtype }) => (float.includes(dtype) ? undefined : `it has no tensors of ONNX's type ${dtype}`) },
    Trilu: triangle,
    DepthToSpace: first(depthToSpace),
    SpaceToDepth: first(spaceToDepth),
    'graphopt.channels_last::DepthToSpace2d': last(depthToSpace),
    'graphopt.channels_last::SpaceToDepth2d': last(spaceToDepth),
  };
}
