"""Fourier transforms. The last dim holds a real number, 1, or a complex one, 2."""

from __future__ import annotations

from graphopt.ir import Dim
from graphopt.shapes.dims import add, as_size, floordiv, mul, sub
from graphopt.shapes.operators.creation import bins
from graphopt.shapes.registry import infers
from graphopt.shapes.site import Site, one_axis
from graphopt.shapes.types import TypeInfo


@infers("DFT")
def fourier(node: Site) -> TypeInfo:
    """Along one axis: as many frequencies as are asked for, those up to the middle if one-sided; or back again."""
    x = node.shape(0)
    if x is None:
        return TypeInfo(node.dtype(0), None)
    if len(x) < 2:
        raise ValueError(f"DFT takes 2 or more dims, not {len(x)}")
    one_sided, inverse = bool(node.attribute("onesided", 0)), bool(node.attribute("inverse", 0))
    parts = 1 if one_sided and inverse else 2
    axis: Dim = node.attribute("axis", 1)
    if node.version >= 20:
        axis = node.element(2) if node.has(2) else -2
    if not isinstance(axis, int):
        same = not one_sided and not node.has(1)
        return TypeInfo(node.dtype(0), (*(x[:-1] if same else node.unknown_dims(len(x) - 1)), parts))
    a = one_axis(axis, len(x))
    if a == len(x) - 1:
        raise ValueError("DFT: the last dim is not one to be transformed")
    length = x[a]
    if node.has(1):
        length = as_size(node.element(1))
    elif one_sided and inverse:
        length = mul(sub(length, 1), 2)
        if isinstance(length, int) and length < 0:
            raise ValueError("DFT: there is no frequency to go back from")
    if one_sided and not inverse:
        length = bins(length)
    return TypeInfo(node.dtype(0), node.or_fresh((*x[:a], length, *x[a + 1 : -1], parts)))


@infers("STFT")
def short_time_fourier(node: Site) -> TypeInfo:
    """[batch, signal, 1 or 2] -> [batch, frames, frequencies, 2]; a frame is as long as the window, or as is said."""
    x = node.shape(0)
    if x is not None and len(x) not in (2, 3):
        raise ValueError(f"STFT takes 3 dims, not {len(x)}")
    batch, signal = (None, None) if x is None else x[:2]
    window = node.shape(2)
    length: Dim = None if node.has(2) or node.has(3) else signal
    if node.has(3):
        length = as_size(node.element(3))
    if window:
        length = node.equate(length, window[0])
    frames = add(floordiv(sub(signal, length), node.element(1)), 1)
    if isinstance(frames, int) and frames < 1:
        raise ValueError(f"STFT: a signal of {signal} is shorter than a frame, {length}")
    frequencies = bins(length) if node.attribute("onesided", 1) else length
    return TypeInfo(node.dtype(0), node.or_fresh((batch, frames, frequencies, 2)))
