// How windows go over [n, spatial..., channels].

/** The permutation from channels first to channels last. */
export const toLast = (rank) => [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
/** The permutation from channels last to channels first. */
export const toFirst = (rank) => [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];

/** What to put before and after each spatial axis, as pairs. `extents` are those of the windows, holes included. */
export function padsOf({ pads, auto_pad: mode = 'NOTSET' }, dims, extents, strides) {
  return dims.map((d, i) => {
    if (mode === 'VALID') return [0, 0];
    if (mode === 'NOTSET') return [pads?.[i] ?? 0, pads?.[i + dims.length] ?? 0];
    const total = Math.max(0, (Math.ceil(d / strides[i]) - 1) * strides[i] + extents[i] - d);
    const less = Math.floor(total / 2);
    return mode === 'SAME_UPPER' ? [less, total - less] : [total - less, less];
  });
}

/** How many windows fit along each axis; with `ceil` also one that begins inside and ends outside. */
export function windowCounts(dims, extents, strides, pads, ceil) {
  return dims.map((d, i) => {
    const room = d + pads[i][0] + pads[i][1] - extents[i];
    const count = (ceil ? Math.ceil : Math.floor)(room / strides[i]) + 1;
    return ceil && (count - 1) * strides[i] >= d + pads[i][0] ? count - 1 : count;
  });
}
