// From floats to integers of 8 and 16 bits, which are held as int32, and back.

import { axisOf } from './host.mjs';

const RANGES = { uint8: [0, 255], int8: [-128, 127], uint16: [0, 65535], int16: [-32768, 32767] };

export default function quantization(tf) {
  /** A scale or zero point as it meets x. */
  function met(t, x, axis) {
    if (t.size === 1) return tf.reshape(t, []);
    const at = axisOf(axis, x.rank);
    return tf.reshape(t, x.shape.map((_, i) => (i === at ? t.size : 1)));
  }

  function quantize([x, scale, zero], { axis = 1 }, step) {
    const [low, high] = RANGES[step.type(2) ?? 'uint8'];
    const y = tf.round(tf.div(x, met(scale, x, axis)));
    const moved = zero === undefined ? y : tf.add(y, met(zero.cast('float32'), x, axis));
    return tf.clipByValue(moved, low, high).cast('int32');
  }

  function dequantize([x, scale, zero], { axis = 1 }) {
    const y = zero === undefined ? x : tf.sub(x.cast('float32'), met(zero.cast('float32'), x, axis));
    return tf.mul(y.cast('float32'), met(scale, x, axis));
  }

  const blocked = ({ block_size: block = 0 }) => (block ? 'it has no scales for blocks' : undefined);

  return {
    QuantizeLinear: {
      run: quantize,
      refuses: (a, step) => {
        const known = step.inputs[2] ? step.type(2) in RANGES : [0, 2, undefined].includes(a.output_dtype);
        return blocked(a) ?? (known ? undefined : 'only to constants of 8 or 16 bits as zero points');
      },
    },
    DequantizeLinear: { run: dequantize, refuses: blocked },
  };
}
