// Numbers of tensors outside of TensorFlow.js: what decides about shapes, and integers, which it has no exact kernels for.

/** TensorFlow.js cannot express this; the message says what. */
export class Lacks extends Error {}

export const size = (shape) => shape.reduce((a, b) => a * b, 1);

const KINDS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

/** An array of numbers of a tensor's dtype: new of a length, or a copy. The backend 'cpu' may hold them in another kind. */
export const arrayOf = (dtype, numbers) => new KINDS[dtype](numbers);

/** The numbers of a tensor as an array; undefined of one that is left out. */
export const values = (t) => (t === undefined ? undefined : Array.from(t.dataSync()));

/** The only number of a tensor, or `otherwise` where it is left out. */
export const scalar = (t, otherwise) => (t === undefined ? otherwise : t.dataSync()[0]);

/** An axis, counted from the front. */
export function axisOf(axis, rank) {
  if (axis < -rank || axis >= Math.max(rank, 1)) throw new Error(`axis ${axis} of a tensor of rank ${rank}`);
  return axis < 0 ? axis + rank : axis;
}

/** Axes, counted from the front, in order. */
export const axesOf = (axes, rank) => axes.map((a) => axisOf(a, rank)).sort((a, b) => a - b);

/** How many elements lie between neighbours along each axis. */
export function stridesOf(shape) {
  const strides = new Array(shape.length);
  for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** The shape that shapes broadcast to. */
export function broadcast(shapes) {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array(rank).fill(1);
  for (const shape of shapes) {
    shape.forEach((d, i) => {
      const at = rank - shape.length + i;
      if (out[at] === 1) out[at] = d;
      else if (d !== 1 && d !== out[at]) throw new Error(`shapes ${shapes.map((s) => `[${s}]`).join(' and ')} do not broadcast`);
    });
  }
  return out;
}

/** For every element of `shape`, in order, where it is in an array that has these strides (0: it is repeated there). */
export function offsets(shape, strides, visit) {
  const rank = shape.length;
  const count = size(shape);
  const index = new Array(rank).fill(0);
  for (let i = 0, at = 0; i < count; i++) {
    visit(at, i, index);
    for (let axis = rank - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

/** A tensor's numbers as they lie when broadcast to a shape. */
export function spread(t, shape) {
  const data = t.dataSync();
  const same = t.shape.length === shape.length && t.shape.every((d, i) => d === shape[i]);
  if (same) return data;
  const own = stridesOf(t.shape);
  const strides = shape.map((_, i) => {
    const axis = i - shape.length + t.shape.length;
    return axis < 0 || t.shape[axis] === 1 ? 0 : own[axis];
  });
  const out = arrayOf(t.dtype, size(shape));
  offsets(shape, strides, (at, i) => (out[i] = data[at]));
  return out;
}

/** A whole number that int32 holds. */
export function int32(x) {
  if (!(x >= -2147483648 && x <= 2147483647)) {
    throw new Lacks(`the integer ${x} is beyond int32, as which all integers are held`);
  }
  return x;
}

/** Integers as a tensor. */
export function integers(tf, data, shape) {
  return tf.tensor(data instanceof Int32Array ? data : Int32Array.from(data, int32), shape, 'int32');
}

/** `compute` on the numbers of tensors, element by element, which broadcast. */
export function elementwise(tf, compute, dtype, ...tensors) {
  const shape = broadcast(tensors.map((t) => t.shape));
  const data = tensors.map((t) => spread(t, shape));
  const count = size(shape);
  const out = arrayOf(dtype, count);
  const checked = dtype === 'int32' ? int32 : (x) => x;
  const [a, b] = data;
  if (data.length === 1) for (let i = 0; i < count; i++) out[i] = checked(compute(a[i]));
  else if (data.length === 2) for (let i = 0; i < count; i++) out[i] = checked(compute(a[i], b[i]));
  else for (let i = 0; i < count; i++) out[i] = checked(compute(...data.map((d) => d[i])));
  return tf.tensor(out, shape, dtype);
}

/** The shape in the middle of [before, along, after] of an axis, for loops. */
export function around(shape, axis) {
  return [size(shape.slice(0, axis)), shape[axis], size(shape.slice(axis + 1))];
}
