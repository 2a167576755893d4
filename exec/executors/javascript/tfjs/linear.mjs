// Products of matrices.

import { broadcast, int32, offsets, size, stridesOf } from './host.mjs';

/** Multiplications from which on the WebAssembly kernel for one product is faster than its kernel for many, though it is set up each time. */
const LARGE = 1e6;

export default function linear(tf) {
  /** Products of matrices [batch..., m, k] and [batch..., k, n], broadcast. */
  function product(a, b) {
    if (a.dtype !== 'float32') return whole(a, b);
    const [m, k] = a.shape.slice(-2);
    const n = b.shape[b.rank - 1];
    const flat = size(b.shape.slice(0, -2)) === 1;
    const shape = [...broadcast([a.shape.slice(0, -2), b.shape.slice(0, -2)]), m, n];
    if (size(shape) === 0 || k === 0) return tf.zeros(shape);
    if (flat) return tf.reshape(tf.matMul(tf.reshape(a, [-1, k]), tf.reshape(b, [k, n])), shape);
    const alike = `${a.shape.slice(0, -2)}` === `${b.shape.slice(0, -2)}`; // that kernel broadcasts wrongly
    if (alike && (tf.getBackend() !== 'wasm' || m * k * n < LARGE)) {
      return tf.reshape(tf.matMul(tf.reshape(a, [-1, m, k]), tf.reshape(b, [-1, k, n])), shape);
    }
    const parts = (t) => (t.rank > 2 ? tf.unstack(tf.reshape(t, [-1, ...t.shape.slice(-2)])) : [t]);
    const [left, right] = [parts(a), parts(b)];
    const products = [];
    pairs(a, b, shape, (i, j) => products.push(tf.matMul(left[i], right[j])));
    return tf.reshape(tf.stack(products), shape);
  }

  /** Which matrices of two batches, that broadcast to one of shape[:-2], meet. */
  function pairs(a, b, shape, visit) {
    const outer = shape.slice(0, -2);
    const steps = [a, b].map((t) => {
      const own = t.shape.slice(0, -2);
      const strides = stridesOf(own);
      return outer.map((_, i) => {
        const axis = i - outer.length + own.length;
        return axis < 0 || own[axis] === 1 ? 0 : strides[axis];
      });
    });
    offsets(outer, outer.map(() => 0), (_, __, index) => {
      const [i, j] = steps.map((s) => index.reduce((at, v, axis) => at + v * s[axis], 0));
      visit(i, j);
    });
  }

  function whole(a, b) {
    const [m, k] = a.shape.slice(-2);
    const n = b.shape[b.rank - 1];
    const shape = [...broadcast([a.shape.slice(0, -2), b.shape.slice(0, -2)]), m, n];
    const [x, y] = [a.dataSync(), b.dataSync()];
    const out = [];
    pairs(a, b, shape, (p, q) => {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let total = 0;
          for (let l = 0; l < k; l++) total += x[(p * m + i) * k + l] * y[(q * k + l) * n + j];
          out.push(int32(total));
        }
      }
    });
    return tf.tensor(Int32Array.from(out), shape, 'int32');
  }

  function matmul([a, b]) {
    const y = product(a.rank === 1 ? tf.expandDims(a, 0) : a, b.rank === 1 ? tf.expandDims(b, 1) : b);
    const shape = y.shape.filter((_, i) => !(a.rank === 1 && i === y.rank - 2) && !(b.rank === 1 && i === y.rank - 1));
    return tf.reshape(y, shape);
  }

  function gemm([a, b, c], { alpha = 1, beta = 1, transA = 0, transB = 0 }, step) {
    const right = transB ? step.once([1], () => [tf.transpose(b, [1, 0])])[0] : b;
    let y = product(transA ? tf.transpose(a, [1, 0]) : a, right);
    if (alpha !== 1) y = tf.mul(y, alpha);
    return c === undefined || beta === 0 ? y : tf.add(y, beta === 1 ? c : tf.mul(c, beta));
  }

  // ------------------------------------------------------------------------------------------------------------- einsum
  /** The letters of an equation's operands and of its result, where this can compute it. */
  function parsed(equation) {
    const [left, right] = equation.replaceAll(' ', '').split('->');
    const operands = left.split(',');
    const once = (t) => new Set(t).size === t.length;
    if (left.includes('.') || operands.length > 2 || !operands.every(once)) return undefined;
    const all = operands.join('');
    const implied = [...new Set(all)].filter((c) => all.indexOf(c) === all.lastIndexOf(c)).sort().join('');
    return [operands, right ?? implied];
  }

  function einsum(inputs, { equation }) {
    const [operands, result] = parsed(equation);
    const dims = {};
    inputs.forEach((t, i) => [...operands[i]].forEach((c, axis) => (dims[c] = t.shape[axis])));
    /** A tensor with these letters only, in this order; what it has more of is added up. */
    const laid = (t, letters, order) => {
      const gone = [...letters].flatMap((c, i) => (order.includes(c) ? [] : [i]));
      const kept = [...letters].filter((c) => order.includes(c));
      const summed = gone.length ? tf.sum(t, gone) : t;
      return order.length > 1 ? tf.transpose(summed, order.map((c) => kept.indexOf(c))) : summed;
    };
    if (inputs.length === 1) return laid(inputs[0], operands[0], [...result]);
    const [x, y] = operands;
    const batch = [...result].filter((c) => x.includes(c) && y.includes(c));
    const rows = [...result].filter((c) => x.includes(c) && !y.includes(c));
    const columns = [...result].filter((c) => y.includes(c) && !x.includes(c));
    const inner = [...x].filter((c) => y.includes(c) && !result.includes(c));
    const n = (letters) => size(letters.map((c) => dims[c]));
    const a = tf.reshape(laid(inputs[0], x, [...batch, ...rows, ...inner]), [n(batch), n(rows), n(inner)]);
    const b = tf.reshape(laid(inputs[1], y, [...batch, ...inner, ...columns]), [n(batch), n(inner), n(columns)]);
    const order = [...batch, ...rows, ...columns];
    return laid(tf.reshape(product(a, b), order.map((c) => dims[c])), order.join(''), [...result]);
  }

  return {
    MatMul: matmul,
    Gemm: gemm,
    Einsum: {
      run: einsum,
      refuses: ({ equation }) => (parsed(equation) ? undefined : `equation '${equation}': two operands at most, no letter twice in one, no ellipsis`),
    },
  };
}
