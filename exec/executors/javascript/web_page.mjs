// ONNX Runtime Web in a page: see web.py, which opens it.

import { sessions } from './web_session.mjs';

export default async function open({ bundle, provider, threads, optimize }) {
  if (provider === 'webgpu' && !(await navigator.gpu?.requestAdapter())) {
    return () => {
      throw new Error('no WebGPU adapter');
    };
  }
  const ort = await import(`./ort/${bundle}`);
  ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
  return sessions(ort, { provider, threads: Number(threads), optimize });
}
