"""Arithmetic of numbers, element by element, with broadcasting: https://onnx.ai/onnx/operators/ and Broadcasting.md."""

from __future__ import annotations

import functools

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import Array, kernel


@kernel("Add", since=7)
def add(xp: Backend, a: Array, b: Array) -> Array:
    return a + b


@kernel("Sub", since=7)
def sub(xp: Backend, a: Array, b: Array) -> Array:
    return a - b


@kernel("Mul", since=7)
def mul(xp: Backend, a: Array, b: Array) -> Array:
    return a * b


@kernel("Sum", since=6)
def sum_(xp: Backend, *xs: Array) -> Array:
    return functools.reduce(lambda a, b: a + b, xs)


@kernel("Relu", since=6)
def relu(xp: Backend, x: Array) -> Array:
    return xp.maximum(x, xp.number(0, x))


@kernel("Sigmoid", since=6, wide=True)
def sigmoid(xp: Backend, x: Array) -> Array:
    return 1 / (1 + xp.exp(-x))
