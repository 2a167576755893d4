// TensorFlow.js in Node.js: see tfjs.py, which starts it, and tfjs_model.py, which writes what it runs.
//
//   node tfjs_runner.mjs <folder with the packages> <wasm|cpu>

import { installed, serve } from './pipe.mjs';
import { interpreter } from './tfjs_interpreter.mjs';
import activations from './tfjs_activations.mjs';
import arithmetic from './tfjs_arithmetic.mjs';
import control from './tfjs_control.mjs';
import convolution from './tfjs_convolution.mjs';
import indexing from './tfjs_indexing.mjs';
import linear from './tfjs_linear.mjs';
import movement from './tfjs_movement.mjs';
import normalization from './tfjs_normalization.mjs';
import pooling from './tfjs_pooling.mjs';
import quantization from './tfjs_quantization.mjs';
import recurrent from './tfjs_recurrent.mjs';
import reduction from './tfjs_reduction.mjs';
import resize from './tfjs_resize.mjs';

const [folder, device] = process.argv.slice(2);
const tf = installed(folder, '@tensorflow/tfjs-core');
installed(folder, '@tensorflow/tfjs-backend-cpu');
if (device === 'wasm') {
  const wasm = installed(folder, '@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(`${folder}/node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/`);
  wasm.setThreadsCount(1);
}
tf.enableProdMode(); // without checks of its own for NaN
await tf.setBackend(device);

const families = [
  activations, arithmetic, control, convolution, indexing, linear, movement, normalization, pooling, quantization, recurrent,
  reduction, resize,
];
await serve(interpreter(tf, Object.assign({}, ...families.map((family) => family(tf)))));
