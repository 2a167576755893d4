"""Maps between labels, and maps as values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.ml import DOMAIN
from graphopt.exec.kernels.ml.scores import labels_of, pick, rows_of
from graphopt.exec.kernels.registry import Array, kernel


# ---------------------------------------------------------------------------------------------------------------- lookup
@dataclass(frozen=True, eq=False)
class Lookup:
    """Values by key, of which the last one counts where it is repeated.

    Attributes:
        strings: positions in `values` of keys that are strings; None: they are numbers.
        numbers: keys that are numbers, in ascending order.
        values: for each key; the last one is for what is no key.
        nan: the position for NaN.
    """

    strings: dict[str, int] | None
    numbers: np.ndarray
    values: np.ndarray
    nan: int | None = None

    @classmethod
    def of(cls, keys: np.ndarray, values: np.ndarray, default: Any) -> Lookup:
        """The lookup.

        Raises:
            ValueError: there are more keys than values, or fewer.
        """
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys, but {len(values)} values")
        all_values = np.array([*values, default], values.dtype)
        if keys.dtype == object:
            return cls({k: i for i, k in enumerate(keys)}, np.empty(0), all_values)
        order = np.argsort(keys, kind="stable")
        ascending = keys[order]
        last = np.append(ascending[1:] != ascending[:-1], True)[: len(keys)] & (ascending == ascending)
        at, nan = [*order[last], len(keys)], np.flatnonzero(keys != keys)
        if nan.size:
            at.append(nan[-1])
        return cls(None, ascending[last], all_values[at], len(at) - 1 if nan.size else None)

    def __call__(self, xp: Backend, x: Array) -> Array:
        """The values for an array of keys."""
        if self.strings is not None:
            find, missing = self.strings.get, len(self.values) - 1
            index = np.array([find(k, missing) for k in np.asarray(x).reshape(-1).tolist()], np.intp)
            return self.values[index].reshape(x.shape)
        missing = len(self.numbers)
        if not missing:
            return pick(xp, self.values, xp.zeros(x.shape, np.int64))
        index = xp.minimum(xp.searchsorted(self.numbers, x), missing - 1)
        index = xp.where(xp.take(self.numbers, index) == x, index, missing)
        if self.nan is not None:
            index = xp.where(xp.isnan(x), self.nan, index)
        return pick(xp, self.values, index)


def texts(values: Any) -> np.ndarray:
    """Strings as an array of them."""
    flat = np.asarray(values, object).reshape(-1).tolist()
    out = np.empty(len(flat), object)
    out[:] = [v.decode() if isinstance(v, bytes) else v for v in flat]
    return out


# ------------------------------------------------------------------------------------------------------------- encoders
def _both_ways(strings: np.ndarray, integers: np.ndarray, default_string: str, default_int64: int) -> dict[str, Any]:
    return {
        "to_integers": Lookup.of(strings, integers, default_int64),
        "to_strings": Lookup.of(integers, strings, default_string),
    }


def _classes(
    *, classes_strings: Sequence[str] = (), default_int64: int = -1, default_string: str = "_Unused"
) -> dict[str, Any]:
    return _both_ways(texts(classes_strings), np.arange(len(classes_strings)), default_string, default_int64)


def _categories(
    *,
    cats_int64s: Sequence[int] = (),
    cats_strings: Sequence[str] = (),
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> dict[str, Any]:
    return _both_ways(texts(cats_strings), np.array(cats_int64s, np.int64), default_string, default_int64)


def _either_way(xp: Backend, x: Array, *, to_integers: Lookup, to_strings: Lookup) -> Array:
    """Integers for strings, strings for integers."""
    return (to_strings if x.dtype.kind == "i" else to_integers)(xp, x)


kernel("CategoryMapper", domain=DOMAIN, prepare=_categories)(_either_way)
kernel("LabelEncoder", domain=DOMAIN, prepare=_classes)(_either_way)


def _entries(
    strings: Sequence[str] | None,
    integers: Sequence[int] | None,
    floats: Sequence[float] | None,
    tensor: np.ndarray | None,
) -> np.ndarray:
    """Keys or values, from whichever attribute is there."""
    if tensor is not None:
        flat = tensor.reshape(-1)
        return texts(flat) if flat.dtype.kind in "OUS" else flat
    if strings is not None:
        return texts(strings)
    if integers is not None:
        return np.array(integers, np.int64)
    return np.array(() if floats is None else floats, np.float32)


def _encoder(
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: np.ndarray | None = None,
    keys_floats: Sequence[float] | None = None,
    keys_int64s: Sequence[int] | None = None,
    keys_strings: Sequence[str] | None = None,
    keys_tensor: np.ndarray | None = None,
    values_floats: Sequence[float] | None = None,
    values_int64s: Sequence[int] | None = None,
    values_strings: Sequence[str] | None = None,
    values_tensor: np.ndarray | None = None,
) -> dict[str, Any]:
    keys = _entries(keys_strings, keys_int64s, keys_floats, keys_tensor)
    values = _entries(values_strings, values_int64s, values_floats, values_tensor)
    default: Any = {"O": default_string, "i": default_int64}.get(values.dtype.kind, default_float)
    if default_tensor is not None:
        default = _entries(None, None, None, default_tensor)[0]
    return {"lookup": Lookup.of(keys, values, default)}


@kernel("LabelEncoder", domain=DOMAIN, since=2, prepare=_encoder)
def label_encoder(xp: Backend, x: Array, *, lookup: Lookup) -> Array:
    """The value of each key, or the default one."""
    return lookup(xp, x)


def _one_hot(
    *, cats_int64s: Sequence[int] | None = None, cats_strings: Sequence[str] | None = None, zeros: int = 1
) -> dict[str, Any]:
    categories = labels_of(cats_int64s, cats_strings)
    places = np.arange(len(categories))
    return {"lookup": Lookup.of(categories, places, -1), "places": places, "zeros": zeros}


@kernel("OneHotEncoder", domain=DOMAIN, prepare=_one_hot)
def one_hot_encoder(xp: Backend, x: Array, *, lookup: Lookup, places: np.ndarray, zeros: int) -> Array:
    """A one at the place of each element's category."""
    index = lookup(xp, x if x.dtype.kind in "OUS" else xp.cast(x, np.int64))
    if not zeros and isinstance(index, np.ndarray) and (index < 0).any():
        raise ValueError(f"{x[index < 0][0]!r} is none of the categories")
    return xp.cast(index[..., None] == places, np.float32)


# ------------------------------------------------------------------------------------------------------ maps as values
@kernel("ZipMap", domain=DOMAIN, on_host=True)
def zip_map(
    xp: Backend,
    x: np.ndarray,
    *,
    classlabels_int64s: Sequence[int] | None = None,
    classlabels_strings: Sequence[str] | None = None,
) -> list[dict[Hashable, float]]:
    """A map from labels to scores for each row."""
    labels = labels_of(classlabels_int64s, classlabels_strings).tolist()
    scores = rows_of(xp, x)
    if scores.shape[1] != len(labels):
        raise ValueError(f"rows of {scores.shape[1]} scores, but {len(labels)} labels")
    return [dict(zip(labels, row)) for row in scores.tolist()]


@kernel("DictVectorizer", domain=DOMAIN, on_host=True)
def dict_vectorizer(
    xp: Backend,
    x: Mapping[Hashable, Any],
    *,
    int64_vocabulary: Sequence[int] = (),
    string_vocabulary: Sequence[str] = (),
) -> np.ndarray:
    """A row of a map's values in the order of the vocabulary, zeros or empty strings for keys that it lacks."""
    kind = type(next(iter(x.values()), 0.0))
    # A Python float is a float32 that left its array, an integer an int64.
    dtype = object if issubclass(kind, str) else {float: np.dtype(np.float32)}.get(kind, np.dtype(kind))
    zero = "" if dtype is object else 0
    return np.array([[x.get(key, zero) for key in int64_vocabulary or string_vocabulary]], dtype)


def _integer(v: Any) -> int:
    return int(v) if not isinstance(v, str) or v.lstrip("+-").isdigit() else int(float(v))


#: How a value is cast; and what stands where there is none.
_CASTS: dict[str, tuple[Any, Any, Any]] = {
    "TO_FLOAT": (np.float32, float, 0.0),
    "TO_INT64": (np.int64, _integer, 0),
    "TO_STRING": (object, lambda v: v if isinstance(v, str) else f"{v:f}", "0.f"),
}


@kernel("CastMap", domain=DOMAIN, on_host=True)
def cast_map(
    xp: Backend, x: Mapping[int, Any], *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1
) -> np.ndarray:
    """A row of a map's values in the order of their keys, or each at the place that its key says."""
    if cast_to not in _CASTS:
        raise ValueError(f"unknown cast_to {cast_to!r}; known: {', '.join(_CASTS)}")
    dtype, cast, empty = _CASTS[cast_to]
    entries = sorted(x.items())
    if map_form == "DENSE":
        return np.array([[cast(v) for _, v in entries]], dtype)
    if entries and entries[0][0] < 0:
        raise ValueError(f"key {entries[0][0]} is no place in a row")
    row = np.full((1, max_map), empty, dtype)
    for key, v in entries:
        if key < max_map:
            row[0, key] = cast(v)
    return row
