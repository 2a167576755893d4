// TensorFlow.js in Node.js: see tfjs.py, which starts it, and tfjs_model.py, which writes what it runs.
//
//   node runner.mjs <folder with the packages> <wasm|cpu>

import { installed, serve } from '../pipe.mjs';
import { interpreter } from './interpreter.mjs';
import activations from './activations.mjs';
import arithmetic from './arithmetic.mjs';
import control from './control.mjs';
import convolution from './convolution.mjs';
import indexing from './indexing.mjs';
import linear from './linear.mjs';
import movement from './movement.mjs';
import normalization from './normalization.mjs';
import pooling from './pooling.mjs';
import quantization from './quantization.mjs';
import recurrent from './recurrent.mjs';
import reduction from './reduction.mjs';
import resize from './resize.mjs';

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
