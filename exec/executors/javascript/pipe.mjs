// The other end of node.py: messages over standard input and output, one answer to each. Nothing is fetched from anywhere.

import { createRequire } from 'node:module';
import { readSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

import { answered } from './message.mjs';

const LARGEST = 1 << 30; // of one system call

/** What `name` exports as installed in the node_modules of `folder`. */
export function installed(folder, name) {
  return createRequire(pathToFileURL(`${folder}/`))(name);
}

/**
 * Answer messages until the pipe ends. `handle(header, buffers)` gives, or promises, [header, buffers]; what it throws is
 * told as the `error` of an answer.
 */
export async function serve(handle) {
  console.log = console.info = console.warn = console.debug = console.error; // stdout is for messages
  for (;;) {
    const header = JSON.parse(new TextDecoder().decode(read(new DataView(read(4).buffer).getUint32(0, true))));
    const buffers = header.sizes.map(read);
    write(await answered(handle, header, buffers));
  }
}

function read(count) {
  const all = new Uint8Array(count); // of its own: elements of any size are aligned in it
  for (let at = 0; at < count; ) {
    const n = again(() => readSync(0, all, at, Math.min(count - at, LARGEST)));
    if (n === 0) process.exit(0); // whoever asked is gone
    at += n;
  }
  return all;
}

function write(message) {
  for (const part of message) {
    for (let at = 0; at < part.byteLength; ) {
      at += again(() => writeSync(1, part, at, Math.min(part.byteLength - at, LARGEST)));
    }
  }
}

function again(call) {
  for (;;) {
    try {
      return call();
    } catch (e) {
      if (e.code === 'EOF') return 0; // Windows
      if (e.code !== 'EAGAIN') throw e;
    }
  }
}
