"""Inputs for a model about which nothing is known but its interface.

What a declaration leaves open - the sizes of dynamic dims, the range of integers - is found out by asking: `search`
proposes plans (sizes and a style of values), likely ones first, until the model runs with as many of them as wanted.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, TensorProto, TensorShapeProto, TypeProto, helper, numpy_helper

from graphopt.compare import INTEGERS, compared_with, feedable, spread
from graphopt.errors import GraphoptError

Sizes = dict[str, int]


class CannotSample(GraphoptError):
    """An input has a type that no values are known for; the message says which."""


@dataclass(frozen=True)
class Style:
    """What values look like: integers in 0..high (signed: -high..high), floats of mean 0 (positive: in 0..1) times scale."""

    name: str
    high: int = 9
    scale: float = 1.0
    positive: bool = False
    steps: bool = False
    signed: bool = False


MODERATE = Style("moderate")
#: Tried in this order. Bytes have their whole range unless a style is small. Steps: one-dimensional integers climb from
#: 0 to the largest size, as offsets and lengths do.
STYLES = (
    MODERATE,
    Style("small", high=1),
    Style("steps", steps=True),
    Style("positive", high=9, positive=True),
    Style("ones", high=-1, positive=True),
    Style("wide", high=31, scale=10.0),
)


@dataclass(frozen=True)
class Plan:
    """Sizes of the dynamic dims, and a style of values."""

    sizes: Sizes
    style: Style = MODERATE


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        name: as declared.
        type: as declared.
        default: of an optional input: the initializer's value (None where that is external data, or there is none).
        hints: numbers that the model compares this input with, worth a try.
    """

    name: str
    type: TypeProto
    default: np.ndarray | None = None
    hints: tuple[int, ...] = ()

    @property
    def dims(self) -> list[int | str]:
        """For each axis its size, or the key of its size in a plan: the dim's name, or 'input[axis]' if it has none."""
        tensor = _tensor_type(self.type)
        if tensor is None or not tensor.HasField("shape"):
            return []
        return [
            d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or f"{self.name}[{axis}]"
            for axis, d in enumerate(tensor.shape.dim)
        ]

    @property
    def rank_known(self) -> bool:
        """Whether the number of axes is declared."""
        tensor = _tensor_type(self.type)
        return tensor is None or tensor.HasField("shape")

    def of_rank(self, rank: int) -> Input:
        """This input with `rank` unnamed dims."""
        clone = TypeProto.FromString(self.type.SerializeToString())
        if (tensor := _tensor_type(clone)) is not None:
            tensor.shape.dim.extend(TensorShapeProto.Dimension() for _ in range(rank))
        return replace(self, type=clone)


def inputs_of(model: ModelProto) -> tuple[list[Input], list[Input]]:
    """The inputs that must be fed and those that may be."""
    required, optional = feedable(model)
    hints = compared_with(model, {v.name for v in required if v.type.tensor_type.elem_type in INTEGERS})
    stored = {t.name: t for t in model.graph.initializer if t.data_location != TensorProto.EXTERNAL}
    defaults = {v.name: numpy_helper.to_array(stored[v.name]) if v.name in stored else None for v in optional}
    return (
        [Input(v.name, v.type, hints=tuple(sorted(hints.get(v.name, ())))) for v in required],
        [Input(v.name, v.type, defaults[v.name]) for v in optional],
    )


# --------------------------------------------------------------------------------------------------------------- values
def draw(inputs: Iterable[Input], plan: Plan, seed: int) -> dict[str, Any]:
    """Values for inputs: a function of the plan, the seed and the names alone.

    Optional inputs get their default, moved a little (floats) or replaced (other types).

    Raises:
        CannotSample: a sparse tensor, a map to something else than numbers or strings...
    """
    feeds = {}
    for one in inputs:
        rng = np.random.default_rng([seed, zlib.crc32(one.name.encode())])
        if one.hints and seed % 2 == 0:
            dtype = helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
            value = one.hints[seed // 2 % len(one.hints)]
            feeds[one.name] = np.full(_shape(one, plan.sizes), value, dtype)
        elif one.default is not None and one.default.dtype.kind == "f":
            feeds[one.name] = (one.default * rng.uniform(0.5, 1.5, one.default.shape)).astype(one.default.dtype)
        elif one.default is not None:
            feeds[one.name] = _tensor(one.type.tensor_type.elem_type, list(one.default.shape), plan.style, 1, rng)
        else:
            feeds[one.name] = _value(one.type, one, plan, rng)
    return feeds


def draws(inputs: Sequence[Input], plan: Plan, seed: int) -> Iterator[dict[str, Any]]:
    """What to try for a seed, one after the other: every third seed begins with integers of both signs."""
    if seed % 3 == 2:
        yield draw(inputs, replace(plan, style=replace(plan.style, signed=True)), seed)
    yield draw(inputs, plan, seed)


def resampled(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Other feeds of the same shapes, every number one that is there already: the model should take these too.

    Raises:
        CannotSample: nothing comes out different.
    """
    rng, other = np.random.default_rng(0), dict(feeds)
    for name, value in feeds.items():
        if isinstance(value, np.ndarray) and value.size:
            other[name] = rng.choice(value.ravel(), value.shape)
    if all(np.array_equal(feeds[n], other[n]) for n in feeds if isinstance(feeds[n], np.ndarray)):
        raise CannotSample("there is but one value of each input")
    return other


def sizes_of(inputs: Iterable[Input], feeds: Mapping[str, Any]) -> Sizes:
    """The sizes that feeds give to dynamic dims."""
    arrays = [(i, feeds[i.name]) for i in inputs if isinstance(feeds.get(i.name), np.ndarray)]
    return {d: size for i, v in arrays for d, size in zip(i.dims, v.shape) if isinstance(d, str)}


def _value(t: TypeProto, one: Input, plan: Plan, rng: np.random.Generator) -> Any:
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        shape = _shape(one, plan.sizes)
        largest = max(plan.sizes.values(), default=1)
        return _tensor(t.tensor_type.elem_type, shape, plan.style, largest, rng)
    if kind == "sequence_type":
        return [_value(t.sequence_type.elem_type, one, plan, rng) for _ in range(2)]
    if kind == "optional_type":
        return _value(t.optional_type.elem_type, one, plan, rng)
    if kind == "map_type":
        keys = _WORDS[:3] if t.map_type.key_type == TensorProto.STRING else range(3)
        element = t.map_type.value_type.tensor_type.elem_type
        if element:
            return {key: _tensor(element, [], plan.style, 1, rng).item() for key in keys}
    raise CannotSample(f"no values can be made up for input {one.name!r} ({kind or 'undeclared type'}); pass inputs=")


def _tensor(element: int, shape: list[int], style: Style, largest: int, rng: np.random.Generator) -> np.ndarray:
    if element == TensorProto.STRING:
        return np.asarray(rng.choice(_WORDS, size=shape), dtype=object).reshape(shape)
    dtype = helper.tensor_dtype_to_np_dtype(element)
    if element == TensorProto.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if element in INTEGERS:
        info: Any = ml_dtypes.iinfo(dtype)
        low, high = 0, min(style.high, int(info.max))
        if info.bits <= 8 and style.high in (9, 31):
            low, high = int(info.min), int(info.max)
        if style.steps and len(shape) == 1 and info.bits > 8:
            return np.linspace(0, largest, shape[0]).astype(dtype)
        if high < 0:
            return np.ones(shape, dtype)
        low = max(-high, int(info.min)) if style.signed else low
        return rng.integers(low, high + 1, shape).astype(dtype)
    real = rng.uniform(0.0, 1.0, shape) if style.positive else rng.standard_normal(shape) * style.scale
    if dtype.kind == "c":
        return np.asarray(real + 1j * rng.standard_normal(shape)).astype(dtype)
    if dtype.name == "float8_e8m0fnu":  # powers of two
        real = np.exp2(real)
    return np.asarray(real).astype(dtype)


_WORDS = ("a", "b", "c", "one", "two", "three words here", "", "Ünïcode")


def _tensor_type(t: TypeProto) -> TypeProto.Tensor | None:
    kind = t.WhichOneof("value")
    if kind == "tensor_type":
        return t.tensor_type
    if kind in ("sequence_type", "optional_type"):
        return _tensor_type(getattr(t, kind).elem_type)
    return None


# ---------------------------------------------------------------------------------------------------------------- sizes
_LADDER = (3, 1, 4, 8, 16, 32, 64, 224, 128, 512, 256, 48, 96, 320, 640, 1024, 2048)
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
_LARGEST = 2**21  # elements of one input: what a model makes of it can be a thousand times as large


def assignments(inputs: Sequence[Input]) -> Iterator[Sizes]:
    """Sizes for the dynamic dims of `inputs`, likely and cheap ones first; without dynamic dims one empty assignment.

    Different dims get different sizes as long as the model takes that: equal ones would hide a mix-up of two axes.
    Images start at 32, for at 3 pixels a network has little to do. Then one dim becomes the sum of two others (a cache
    and what is new), the first dynamic dim of every input counts as one batch, and others climb a ladder of sizes that
    real models ask for. Never 0.
    """
    seen = set()
    for keys, lead in _groupings(inputs):
        pixels = {keys[d] for i in inputs for d in _pixels(i)}
        for sizes in _families(list(dict.fromkeys(keys.values())), lead, pixels):
            full = {key: sizes[group] for key, group in keys.items()}
            frozen = tuple(full.values())
            if frozen not in seen and all(math.prod(_shape(i, full)) <= _LARGEST for i in inputs):
                seen.add(frozen)
                yield full


def _shape(one: Input, sizes: Sizes) -> list[int]:
    try:
        return [sizes[d] if isinstance(d, str) else d for d in one.dims]
    except KeyError as e:
        raise CannotSample(f"no size is known for dim {e} of input {one.name!r}; pass inputs=") from None


def _groupings(inputs: Sequence[Input]) -> Iterator[tuple[dict[str, str], set[str]]]:
    """Key -> keys that share its size, and those that lead: every key on its own; then unnamed dims of like inputs tied."""
    open_dims = [(i, [d for d in i.dims if isinstance(d, str)]) for i in inputs]
    apart = {d: d for _, dims in open_dims for d in dims}
    yield apart, {dims[0] for _, dims in open_dims if dims}
    firsts: dict[tuple[Any, ...], str] = {}
    tied = {}
    for i, _ in open_dims:
        pattern = tuple(d if isinstance(d, int) or "[" not in d else None for d in i.dims)
        for axis, d in enumerate(i.dims):
            if isinstance(d, str):
                tied[d] = firsts.setdefault((pattern, axis), d) if d == f"{i.name}[{axis}]" else d
    if tied != apart:
        yield tied, {tied[dims[0]] for _, dims in open_dims if dims}


def _pixels(one: Input) -> list[str]:
    """Dynamic dims of an image: from the third on, of four or more, the last among them."""
    dims = one.dims
    return [d for d in dims[2:] if isinstance(d, str)] if len(dims) >= 4 and isinstance(dims[-1], str) else []


def _families(keys: list[str], lead: set[str], pixels: set[str]) -> Iterator[Sizes]:
    if not keys:
        yield {}
        return
    rest = [k for k in keys if k not in lead]
    for shift in (0, 1):
        large = dict(zip((k for k in keys if k in pixels), itertools.cycle((32, 64) if not shift else (64, 32))))
        for images in [large, {}] if large else [{}]:
            apart = dict(zip(keys, itertools.cycle(_PRIMES[shift:]))) | images
            batched = dict(zip(rest, itertools.cycle(_PRIMES[1 + shift :]))) | images
            batched = dict.fromkeys(keys, 2 + shift) | batched
            yield apart
            yield batched
        for base in (batched, apart) if len(keys) <= 6 else ():
            for total in rest or keys:
                for a, b in itertools.combinations([k for k in keys if k != total], 2):
                    yield {**base, total: base[a] + base[b]}
    for n in _LADDER:
        for batch in (2, 3, 1):
            yield {**dict.fromkeys(keys, batch), **{k: n * (1 + i) for i, k in enumerate(rest)}}
            yield {**dict.fromkeys(keys, batch), **dict.fromkeys(rest, n)}
    for n in _LADDER:
        yield dict.fromkeys(keys, n)


# --------------------------------------------------------------------------------------------------------------- search
@dataclass(frozen=True)
class Found:
    """What came of a search: the inputs, their ranks settled; plans accepted; the first refusal, '' if there was none."""

    inputs: list[Input]
    plans: list[Plan]
    refusal: str


def search(
    inputs: Sequence[Input],
    refuses: Callable[[dict[str, Any]], str],
    count: int = 2,
    *,
    first: Sequence[Plan] = (),
    seconds: float = 30.0,
    attempts: int = 600,
) -> Found:
    """Plans that a model runs with, every dynamic dim of another size in each if that can be had.

    Args:
        inputs: of the model, those that must be fed.
        refuses: runs the model on feeds; '' where it ran, else why not.
        count: plans wanted. One is all there is where no dim is dynamic.
        first: plans that another executor took: no others are tried.
        seconds, attempts: when to give up.

    Raises:
        CannotSample: see `draw`.
    """
    until, left, refusal = time.perf_counter() + seconds, attempts, ""

    def accepted(these: Sequence[Input], plan: Plan) -> bool:
        nonlocal left, refusal
        if left <= 0 or time.perf_counter() > until:
            return False
        left -= 1
        said = refuses(draw(these, plan, 0))
        refusal = refusal or said
        return not said

    for these in _ranked(inputs):
        if first:
            plans = [p for p in first if accepted(these, p)]
            return Found(list(these), plans, refusal)
        start = next((p for p in _proposals(these) if accepted(these, p)), None)
        if start is None:
            continue
        plans = [start]
        for differing in (all, any):
            for sizes in assignments(these):
                if len(plans) >= count or not sizes:
                    break
                new = all(differing(sizes[k] != p.sizes[k] for k in sizes) for p in plans)
                if new and accepted(these, Plan(sizes, start.style)):
                    plans.append(Plan(sizes, start.style))
        return Found(list(these), plans, refusal)
    return Found(list(inputs), [], refusal)


def lively(found: Found, run: Callable[[dict[str, Any]], Mapping[str, Any]]) -> list[Plan]:
    """The plans of a search, in the first style of values that makes some output move from one seed to another."""
    for style in (found.plans[0].style, *STYLES) if found.inputs else ():
        with contextlib.suppress(Exception):
            a, b = (run(draw(found.inputs, replace(found.plans[0], style=style), seed)) for seed in (0, 1))
            if any(spread([a[output], b[output]]) for output in a):
                return [replace(plan, style=style) for plan in found.plans]
    return found.plans


def _proposals(inputs: Sequence[Input]) -> Iterator[Plan]:
    """Every assignment of sizes in the two likeliest styles; then in the others."""
    for styles in (STYLES[:2], STYLES[2:-1]):
        for sizes in assignments(inputs):
            yield from (Plan(sizes, style) for style in styles)


def _ranked(inputs: Sequence[Input]) -> Iterator[Sequence[Input]]:
    """The inputs, with ranks made up for those that declare none."""
    if all(i.rank_known for i in inputs):
        yield inputs
        return
    for rank in (2, 4, 3, 1, 0):
        yield [i if i.rank_known else i.of_rank(rank) for i in inputs]
