// Activations.

const SQRT_HALF = Math.SQRT1_2;
const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

export default function activations(tf) {
  const one = (f) => ([x], attributes) => f(x, attributes);
  const line = (x, slope, offset) => tf.clipByValue(tf.add(tf.mul(x, slope), offset), 0, 1);
  /** What is computed for negative numbers, elsewhere x. */
  const below = (x, y) => tf.where(tf.greater(x, 0), x, y);

  function gelu(x, { approximate = 'none' }) {
    const inner =
      approximate === 'tanh'
        ? tf.tanh(tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), SQRT_2_OVER_PI))
        : tf.erf(tf.mul(x, SQRT_HALF));
    return tf.mul(tf.mul(x, 0.5), tf.add(inner, 1));
  }

  function prelu([x, slope]) {
    return tf.where(tf.less(x, 0), tf.mul(x, slope), x);
  }

  return {
    Relu: one((x) => (x.dtype === 'int32' ? tf.relu(x.cast('float32')).cast('int32') : tf.relu(x))),
    LeakyRelu: one((x, { alpha = 0.01 }) => tf.leakyRelu(x, alpha)),
    PRelu: prelu,
    ThresholdedRelu: one((x, { alpha = 1 }) => tf.where(tf.greater(x, alpha), x, tf.zerosLike(x))),
    Elu: one((x, { alpha = 1 }) => (alpha === 1 ? tf.elu(x) : below(x, tf.mul(tf.expm1(tf.minimum(x, 0)), alpha)))),
    Celu: one((x, { alpha = 1 }) => below(x, tf.mul(tf.expm1(tf.div(tf.minimum(x, 0), alpha)), alpha))),
    Selu: one((x, { alpha = 1.6732632, gamma = 1.050701 }) =>
      tf.mul(below(x, tf.mul(tf.expm1(tf.minimum(x, 0)), alpha)), gamma),
    ),
    Sigmoid: one((x) => tf.sigmoid(x)),
    HardSigmoid: one((x, { alpha = 0.2, beta = 0.5 }) => line(x, alpha, beta)),
    HardSwish: one((x) => tf.mul(x, line(x, 1 / 6, 0.5))),
    Swish: one((x, { alpha = 1 }) => tf.mul(x, tf.sigmoid(alpha === 1 ? x : tf.mul(x, alpha)))),
    Mish: one((x) => tf.mul(x, tf.tanh(tf.softplus(x)))),
    Gelu: one(gelu),
    Tanh: one((x) => tf.tanh(x)),
    Softplus: one((x) => tf.softplus(x)),
    Softsign: one((x) => tf.div(x, tf.add(tf.abs(x), 1))),
    Shrink: one((x, { bias = 0, lambd = 0.5 }) => {
      const outer = tf.where(tf.greater(x, lambd), tf.sub(x, bias), tf.zerosLike(x));
      return tf.where(tf.less(x, -lambd), tf.add(x, bias), outer);
    }),
  };
}
