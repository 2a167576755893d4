// ONNX Runtime Web in Node.js: see web.py, which starts it.
//
//   node web_runner.mjs <folder with onnxruntime-web> <threads> <optimize: all|disabled>

import { installed, serve } from './pipe.mjs';
import { sessions } from './web_session.mjs';

const [folder, threads, optimize] = process.argv.slice(2);
const ort = installed(folder, 'onnxruntime-web');

await serve(sessions(ort, { provider: 'wasm', threads: Number(threads), optimize }));
