// Messages as messages.py has them, in Node.js and in browsers: the length of a header (four bytes, little endian), the
// header as JSON, and the bytes of as many buffers as it has `sizes`.

/** The kinds of arrays that hold elements of each type; where there is none for float16, it stays bits. Strings are text. */
export const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: globalThis.Float16Array ?? Uint16Array, int8: Int8Array, uint8: Uint8Array,
  bool: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array,
  uint64: BigUint64Array,
};

/** An array of elements of `type` over bytes that came in. */
export function elements(type, bytes) {
  return new ARRAYS[type](bytes.buffer, bytes.byteOffset, bytes.byteLength / ARRAYS[type].BYTES_PER_ELEMENT);
}

/** The bytes of an array of elements. */
export function bytes(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A message as a list of arrays of bytes. */
export function parts(header, buffers) {
  const text = new TextEncoder().encode(JSON.stringify({ ...header, sizes: buffers.map((b) => b.byteLength) }));
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, text.length, true);
  return [size, text, ...buffers];
}

/** The header and the buffers of a whole message; each buffer is a copy, aligned for elements of any size. */
export function parsed(all) {
  let at = 4 + new DataView(all).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(all, 4, at - 4)));
  return [header, header.sizes.map((n) => new Uint8Array(all.slice(at, (at += n))))];
}

/** The message with which `handle` answers, [header, buffers] or a promise of them; what it throws is the answer's `error`. */
export async function answered(handle, header, buffers) {
  try {
    return parts(...(await handle(header, buffers)));
  } catch (e) {
    return parts({ error: String(e?.message ?? e) }, []);
  }
}
