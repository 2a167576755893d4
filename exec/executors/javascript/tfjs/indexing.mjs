// Operators that take or put elements by indices. Indices are looked at outside of TensorFlow.js, so that none is out of bounds.

import { around, arrayOf, axisOf, integers, int32, offsets, scalar, size, stridesOf, values } from './host.mjs';

const COMBINED = {
  none: (_, b) => b, add: (a, b) => a + b, mul: (a, b) => a * b, max: Math.max, min: Math.min,
};

/** An index, counted from the front. */
function within(index, d) {
  if (index < -d || index >= d) throw new Error(`index ${index} is out of bounds of an axis of ${d}`);
  return index < 0 ? index + d : index;
}

export default function indexing(tf) {
  const made = (data, shape, dtype) => tf.tensor(data, shape, dtype);
  /** Elements of a tensor at places among all of its elements. */
  const taken = (x, places, shape) =>
    size(shape) ? tf.reshape(tf.gather(tf.reshape(x, [x.size]), tf.tensor1d(places, 'int32')), shape) : made([], shape, x.dtype);

  function gather([x, indices], { axis = 0 }) {
    const along = axisOf(axis, x.rank);
    const places = Int32Array.from(indices.dataSync(), (i) => within(i, x.shape[along]));
    const shape = [...x.shape.slice(0, along), ...indices.shape, ...x.shape.slice(along + 1)];
    if (size(shape) === 0) return made([], shape, x.dtype);
    if (places.length === 1) return tf.reshape(tf.slice(x, x.shape.map((_, i) => (i === along ? places[0] : 0)), x.shape.map((d, i) => (i === along ? 1 : d))), shape);
    return tf.reshape(tf.gather(x, tf.tensor1d(places, 'int32'), along), shape);
  }

  /** For each element of indices, where in x it points. */
  function elementPlaces(x, indices, along) {
    const strides = stridesOf(x.shape);
    const given = indices.dataSync();
    const places = new Int32Array(indices.size);
    const others = strides.map((s, i) => (i === along ? 0 : s));
    offsets(indices.shape, others, (at, i) => (places[i] = at + within(given[i], x.shape[along]) * strides[along]));
    return places;
  }

  function scatterElements([x, indices, updates], { axis = 0, reduction = 'none' }) {
    const out = arrayOf(x.dtype, x.dataSync());
    const given = updates.dataSync();
    const combine = COMBINED[reduction];
    elementPlaces(x, indices, axisOf(axis, x.rank)).forEach((at, i) => (out[at] = combine(out[at], given[i])));
    return made(out, x.shape, x.dtype);
  }

  /** For each index tuple, where in x the slice begins that it points to; and the shape of such a slice. */
  function slicePlaces(x, indices, batch) {
    const depth = indices.shape[indices.rank - 1];
    const inner = x.shape.slice(batch + depth);
    const strides = stridesOf(x.shape);
    const given = indices.dataSync();
    const count = depth ? given.length / depth : size(indices.shape.slice(0, -1));
    const batches = size(x.shape.slice(0, batch));
    const perBatch = count / Math.max(1, batches);
    const places = Int32Array.from({ length: count }, (_, i) => {
      let at = Math.floor(i / perBatch) * size(x.shape.slice(batch));
      for (let k = 0; k < depth; k++) at += within(given[i * depth + k], x.shape[batch + k]) * strides[batch + k];
      return at;
    });
    return [places, inner];
  }

  function gatherND([x, indices], { batch_dims: batch = 0 }) {
    const [places, inner] = slicePlaces(x, indices, batch);
    const shape = [...indices.shape.slice(0, -1), ...inner];
    if (size(shape) === 0) return made([], shape, x.dtype);
    const rows = tf.reshape(x, [-1, size(inner)]);
    return tf.reshape(tf.gather(rows, tf.tensor1d(places.map((at) => at / size(inner)), 'int32')), shape);
  }

  function scatterND([x, indices, updates], { reduction = 'none' }) {
    const [places, inner] = slicePlaces(x, indices, 0);
    const out = arrayOf(x.dtype, x.dataSync());
    const given = updates.dataSync();
    const n = size(inner);
    const combine = COMBINED[reduction];
    places.forEach((at, i) => {
      for (let k = 0; k < n; k++) out[at + k] = combine(out[at + k], given[i * n + k]);
    });
    return made(out, x.shape, x.dtype);
  }

  function oneHot([indices, depth, pair], { axis = -1 }) {
    const count = Math.trunc(scalar(depth));
    const along = axisOf(axis, indices.rank + 1);
    const shape = [...indices.shape.slice(0, along), count, ...indices.shape.slice(along)];
    const [off, on] = values(pair);
    const out = new Float32Array(size(shape)).fill(off);
    const after = size(indices.shape.slice(along));
    indices.dataSync().forEach((index, i) => {
      if (index < -count || index >= count) return;
      const at = index < 0 ? index + count : index;
      out[(Math.floor(i / after) * count + Math.trunc(at)) * after + (i % after)] = on;
    });
    return made(out, shape, pair.dtype);
  }

  function nonZero([x]) {
    const found = [];
    const data = x.dataSync();
    offsets(x.shape, stridesOf(x.shape), (at, _, index) => data[at] && found.push([...index]));
    return integers(tf, x.shape.flatMap((_, axis) => found.map((index) => index[axis])), [x.rank, found.length]);
  }

  function compress([x, condition], { axis }) {
    const kept = values(condition).flatMap((c, i) => (c ? [i] : []));
    const flat = axis === undefined ? tf.reshape(x, [x.size]) : x;
    return gather([flat, integers(tf, kept, [kept.length])], { axis: axis ?? 0 });
  }

  /** The largest or smallest along an axis, and where they are: equals in order. */
  function topK([x, k], { axis = -1, largest = 1 }) {
    const along = axisOf(axis, x.rank);
    const count = scalar(k);
    const [before, d, after] = around(x.shape, along);
    const shape = x.shape.map((n, i) => (i === along ? count : n));
    const data = x.dataSync();
    const top = arrayOf(x.dtype, size(shape));
    const places = new Int32Array(size(shape));
    const order = Array.from({ length: d }, (_, i) => i);
    for (let i = 0; i < before; i++) {
      for (let j = 0; j < after; j++) {
        const value = (n) => data[(i * d + n) * after + j];
        const sorted = order.slice().sort((a, b) => (largest ? value(b) - value(a) : value(a) - value(b)) || a - b);
        for (let n = 0; n < count; n++) {
          top[(i * count + n) * after + j] = value(sorted[n]);
          places[(i * count + n) * after + j] = sorted[n];
        }
      }
    }
    return [made(top, shape, x.dtype), made(places, shape, 'int32')];
  }

  function arg(better) {
    return ([x], { axis = 0, keepdims = 1, select_last_index: last = 0 }) => {
      const along = axisOf(axis, x.rank);
      const [before, d, after] = around(x.shape, along);
      const data = x.dataSync();
      const out = new Int32Array(before * after);
      for (let i = 0; i < before; i++) {
        for (let j = 0; j < after; j++) {
          let best = 0;
          for (let n = 1; n < d; n++) {
            const [a, b] = [data[(i * d + n) * after + j], data[(i * d + best) * after + j]];
            if (better(a, b) || (last && a === b)) best = n;
          }
          out[i * after + j] = best;
        }
      }
      return made(out, keepdims ? x.shape.map((n, i) => (i === along ? 1 : n)) : x.shape.filter((_, i) => i !== along), 'int32');
    };
  }

  /** An operator from how the numbers before are put together, beginning with `start`. */
  const cumulate = (start, combine, float) => ([x, axis], { exclusive = 0, reverse = 0 }) => {
    const along = axisOf(scalar(axis), x.rank);
    if (x.dtype === 'float32') return float(x, along, !!exclusive, !!reverse);
    const [before, d, after] = around(x.shape, along);
    const data = x.dataSync();
    const out = new Int32Array(x.size);
    for (let i = 0; i < before; i++) {
      for (let j = 0; j < after; j++) {
        let total = start;
        for (let n = 0; n < d; n++) {
          const at = (i * d + (reverse ? d - 1 - n : n)) * after + j;
          out[at] = exclusive ? total : int32(combine(total, data[at]));
          total = int32(combine(total, data[at]));
        }
      }
    }
    return made(out, x.shape, 'int32');
  };

  /** The first elements of each sequence in the opposite order. */
  function reverseSequence([x, lengths], { batch_axis: batch = 1, time_axis: time = 0 }) {
    const strides = stridesOf(x.shape);
    const ends = lengths.dataSync();
    const places = new Int32Array(x.size);
    offsets(x.shape, strides, (at, i, index) => {
      const [t, end] = [index[time], ends[index[batch]]];
      places[i] = t < end ? at + (end - 1 - 2 * t) * strides[time] : at;
    });
    return taken(x, places, x.shape);
  }

  /** The best boxes of each class that overlap none better by more than a threshold, as [batch, class, box]. */
  function suppressed([boxes, scores, most, overlap, least], { center_point_box: centred = 0 }) {
    const [batches, classes, count] = scores.shape;
    const [corners, points] = [boxes.dataSync(), scores.dataSync()];
    const [limit, iou, threshold] = [scalar(most, 0), scalar(overlap, 0), scalar(least, -Infinity)];
    const sides = (at) => {
      const [a, b, c, d] = corners.slice(at * 4, at * 4 + 4);
      if (centred) return [a - c / 2, b - d / 2, a + c / 2, b + d / 2];
      return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
    };
    const area = ([a, b, c, d]) => (c - a) * (d - b);
    const overlaps = (p, q) => {
      const both = [Math.max(p[0], q[0]), Math.max(p[1], q[1]), Math.min(p[2], q[2]), Math.min(p[3], q[3])];
      if (both[2] <= both[0] || both[3] <= both[1]) return false;
      return area(both) / (area(p) + area(q) - area(both)) > iou;
    };
    const found = [];
    for (let n = 0; n < batches; n++) {
      for (let c = 0; c < classes; c++) {
        const of = (m) => points[(n * classes + c) * count + m];
        const order = Array.from({ length: count }, (_, m) => m).filter((m) => of(m) > threshold).sort((p, q) => of(q) - of(p) || p - q);
        const kept = [];
        for (const m of order) {
          if (kept.length >= limit) break;
          const box = sides(n * count + m);
          if (kept.some((other) => overlaps(box, other))) continue;
          kept.push(box);
          found.push(n, c, m);
        }
      }
    }
    return integers(tf, found, [found.length / 3, 3]);
  }

  const combines = ({ reduction = 'none' }) => (reduction in COMBINED ? undefined : `reduction '${reduction}'`);

  return {
    Gather: gather,
    GatherElements: ([x, indices], { axis = 0 }) => taken(x, elementPlaces(x, indices, axisOf(axis, x.rank)), indices.shape),
    GatherND: gatherND,
    ScatterElements: { run: scatterElements, refuses: combines },
    ScatterND: { run: scatterND, refuses: combines },
    OneHot: oneHot,
    NonZero: nonZero,
    NonMaxSuppression: suppressed,
    Compress: compress,
    TopK: topK,
    ArgMax: arg((a, b) => a > b),
    ArgMin: arg((a, b) => a < b),
    CumSum: cumulate(0, (a, b) => a + b, tf.cumsum),
    CumProd: cumulate(1, (a, b) => a * b, tf.cumprod),
    ReverseSequence: reverseSequence,
  };
}
