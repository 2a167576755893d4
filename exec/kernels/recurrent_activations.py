"""The functions that recurrent networks name: `activations`, with `activation_alpha` and `activation_beta`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from graphopt.exec.kernels.activation import (
    elu,
    hard_sigmoid,
    leaky_relu,
    relu,
    softplus,
    softsign,
    thresholded_relu,
)
from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array
from graphopt.exec.kernels.special import clamp

#: A function of one array.
Function = Callable[[Array], Array]


def _quick_sigmoid(xp: Backend, like: Array) -> Function:
    if xp.traces:
        return xp.sigmoid
    one = xp.asarray(xp.number(1, like))  # of rank 0: NumPy adds such faster than scalars

    def sigmoid(x: Array) -> Array:
        y = xp.exp(-x)
        y += one
        return one / y

    return sigmoid


def _affine(xp: Backend, x: Array, *, alpha: float = 1.0, beta: float = 0.0) -> Array:
    return x * xp.number(alpha, x) + xp.number(beta, x)


def _scaled_tanh(xp: Backend, x: Array, *, alpha: float = 1.0, beta: float = 1.0) -> Array:
    return xp.tanh(x * xp.number(beta, x)) * xp.number(alpha, x)


#: What nearly all networks have, made for an array like this one so that a call costs little.
_QUICK: dict[str, Callable[[Backend, Array], Function]] = {
    "sigmoid": _quick_sigmoid,
    "tanh": lambda xp, like: xp.tanh,
}
#: The others, and which parameters they take.
_OTHERS: dict[str, tuple[Callable[..., Array], tuple[str, ...]]] = {
    "affine": (_affine, ("alpha", "beta")),
    "elu": (elu, ("alpha",)),
    "hardsigmoid": (hard_sigmoid, ("alpha", "beta")),
    "leakyrelu": (leaky_relu, ("alpha",)),
    "relu": (relu, ()),
    "scaledtanh": (_scaled_tanh, ("alpha", "beta")),
    "softplus": (softplus, ()),
    "softsign": (softsign, ()),
    "thresholdedrelu": (thresholded_relu, ("alpha",)),
}


class Activation(NamedTuple):
    """A function by name, and those of its parameters that are given."""

    name: str
    parameters: tuple[tuple[str, float], ...]

    def bind(self, xp: Backend, like: Array, clip: float | None = None) -> Function:
        """The function of one array, whose argument is kept within [-clip, clip]."""
        if self.name in _QUICK:
            function = _QUICK[self.name](xp, like)
        else:
            function = partial(_OTHERS[self.name][0], xp, **dict(self.parameters))
        if clip is None or math.isinf(clip):
            return function
        return lambda x: function(clamp(xp, x, -clip, clip))


def activations_of(
    names: Sequence[str] | None,
    default: tuple[str, ...],
    alpha: Sequence[float],
    beta: Sequence[float],
    directions: int,
) -> list[tuple[Activation, ...]]:
    """The functions of each direction. Parameters are consumed in order by those functions that take them."""
    names = [name.lower() for name in names or default * directions]
    if len(names) < len(default) * directions:
        raise ValueError(f"{len(names)} activations, but {directions} directions need {len(default)} each")
    given = {"alpha": iter(alpha), "beta": iter(beta)}
    functions = []
    for name in names:
        if name not in _QUICK and name not in _OTHERS:
            raise ValueError(f"unknown activation {name!r}; known: {', '.join((*_QUICK, *_OTHERS))}")
        takes = _OTHERS[name][1] if name in _OTHERS else ()
        functions.append(Activation(name, tuple((p, v) for p in takes for v in itertools.islice(given[p], 1))))
    return [tuple(functions[i * len(default) :][: len(default)]) for i in range(directions)]
