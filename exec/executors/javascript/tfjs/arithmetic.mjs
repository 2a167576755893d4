// Arithmetic, comparisons, logic and types. Integers are computed outside of TensorFlow.js, exactly.

import { elementwise, integers, scalar } from './host.mjs';

const isInt = (t) => t.dtype !== 'float32';

/** Rounds down to a whole number towards zero; there is none for a division by zero. */
function quotient(a, b) {
  if (b === 0) throw new Error('an integer is divided by zero');
  return Math.trunc(a / b);
}

/** With the sign of the divisor, as a zero too. */
function floorMod(a, b) {
  const r = a % b;
  if (r === 0) return b < 0 || Object.is(b, -0) ? -0 : 0;
  return r < 0 !== b < 0 ? r + b : r;
}

function wholeMod(a, b) {
  return b === 0 ? quotient(a, b) : floorMod(a, b);
}

export default function arithmetic(tf) {
  /** Of two tensors: floats by TensorFlow.js, integers by `exact`. */
  const binary = (float, exact) => ([a, b]) => (isInt(a) ? elementwise(tf, exact, 'int32', a, b) : float(a, b));
  const unary = (float, exact) => ([x]) => (isInt(x) ? elementwise(tf, exact, 'int32', x) : float(x));
  const variadic = (float, exact) => (inputs) => inputs.reduce((a, b) => binary(float, exact)([a, b]));
  const float = (f) => ([x]) => f(x);
  /** Booleans compare as numbers. */
  const compared = (f) => ([a, b]) => f(...[a, b].map((t) => (t.dtype === 'bool' ? t.cast('int32') : t)));
  const logical = (f) => ([a, b]) => f(a, b);
  const bits = (f) => ([a, b]) => elementwise(tf, f, 'int32', a, b);
  const zero = (x) => tf.zerosLike(x);

  // a NaN stays one, whichever operand it is
  const larger = (a, b) => tf.maximum(a, b);
  const smaller = (a, b) => tf.minimum(a, b);

  function cast([x], { to }) {
    if (to === 1) return x.cast('float32');
    if (to === 9) return x.dtype === 'bool' ? x : tf.notEqual(x, zero(x));
    if (x.dtype === 'bool') return x.cast('int32');
    const wraps = { 2: (v) => v & 255, 3: (v) => (v << 24) >> 24, 4: (v) => v & 65535, 5: (v) => (v << 16) >> 16 }[to];
    if (wraps) return elementwise(tf, (v) => wraps(Math.trunc(v)), 'int32', x);
    if (x.dtype === 'int32') return x;
    // what is no number of any integer type becomes the least one, as on most processors
    return elementwise(tf, (v) => (Number.isFinite(v) ? Math.trunc(v) : -2147483648), 'int32', x);
  }

  function clip([x, low, high]) {
    const from = scalar(low, -Infinity);
    const to = scalar(high, Infinity);
    if (isInt(x)) return elementwise(tf, (v) => Math.min(Math.max(v, from), to), 'int32', x);
    if (from <= to) return tf.clipByValue(x, from, to);
    return tf.minimum(tf.maximum(x, from), to);
  }

  function power([a, b]) {
    if (isInt(a)) return elementwise(tf, (x, y) => Math.trunc(x ** y), 'int32', a, b);
    const exponent = b.size === 1 && b.rank <= a.rank ? scalar(b) : undefined;
    if (exponent === 2) return tf.square(a);
    if (exponent === 0.5) return tf.sqrt(a);
    return tf.pow(a, b.cast('float32'));
  }

  return {
    Add: binary(tf.add, (a, b) => a + b),
    Sub: binary(tf.sub, (a, b) => a - b),
    Mul: binary(tf.mul, (a, b) => a * b),
    Div: binary((a, b) => tf.div(a, b), quotient),
    Mod: ([a, b], { fmod = 0 }) => elementwise(tf, fmod ? (x, y) => x % y : isInt(a) ? wholeMod : floorMod, a.dtype, a, b),
    Pow: power,
    Sum: variadic(tf.add, (a, b) => a + b),
    Mean: (inputs) => tf.div(inputs.reduce((a, b) => tf.add(a, b)), inputs.length),
    Max: variadic(larger, Math.max),
    Min: variadic(smaller, Math.min),
    Abs: unary(tf.abs, Math.abs),
    Neg: unary(tf.neg, (v) => -v),
    Sign: unary(tf.sign, Math.sign),
    Clip: clip,
    Acos: float(tf.acos), Acosh: float(tf.acosh), Asin: float(tf.asin), Asinh: float(tf.asinh), Atan: float(tf.atan),
    Atanh: float(tf.atanh), Ceil: float(tf.ceil), Cos: float(tf.cos), Cosh: float(tf.cosh), Erf: float(tf.erf),
    Exp: float(tf.exp), Floor: float(tf.floor), IsNaN: float(tf.isNaN), Log: float(tf.log), Reciprocal: float(tf.reciprocal),
    Round: float(tf.round), Sin: float(tf.sin), Sinh: float(tf.sinh), Sqrt: float(tf.sqrt), Tan: float(tf.tan),
    IsInf: ([x], { detect_negative: negative = 1, detect_positive: positive = 1 }) =>
      elementwise(tf, (v) => (positive && v === Infinity) || (negative && v === -Infinity), 'bool', x),
    Equal: compared(tf.equal), Greater: compared(tf.greater), GreaterOrEqual: compared(tf.greaterEqual),
    Less: compared(tf.less), LessOrEqual: compared(tf.lessEqual),
    And: logical(tf.logicalAnd), Or: logical(tf.logicalOr), Xor: logical(tf.logicalXor), Not: ([x]) => tf.logicalNot(x),
    BitwiseAnd: bits((a, b) => a & b), BitwiseOr: bits((a, b) => a | b), BitwiseXor: bits((a, b) => a ^ b),
    BitwiseNot: ([x]) => elementwise(tf, (v) => ~v, 'int32', x),
    Where: ([condition, a, b]) => {
      if (a.dtype !== 'bool') return tf.where(condition, a, b);
      return tf.where(condition, a.cast('int32'), b.cast('int32')).cast('bool'); // its kernel writes past the end of booleans
    },
    Cast: {
      run: cast,
      refuses: ({ to }) => ([1, 2, 3, 4, 5, 6, 7, 9].includes(to) ? undefined : `it has no tensors of ONNX's type ${to}`),
    },
    CastLike: ([x, like]) => x.cast(like.dtype),
    Range: ([from, to, step]) => {
      const [a, b, d] = [from, to, step].map((t) => scalar(t));
      const count = Math.max(0, Math.ceil((b - a) / d));
      const numbers = Array.from({ length: count }, (_, i) => a + i * d);
      return isInt(from) ? integers(tf, numbers, [count]) : tf.tensor1d(numbers, 'float32');
    },
  };
}
