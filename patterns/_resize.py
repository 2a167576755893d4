"""What rules about Resize ask of its attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.patterns._elementwise import FLOATS
from graphopt.rewrite import Tensor

#: How a nearest element is found by repeating each: the way of which runtimes are fastest.
REPEATED = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}


def scales_of_all(scales: Any, attrs: dict[str, Any], rank: int) -> np.ndarray:
    """The scale of each axis, also of those that are not named."""
    found = np.ones(rank)
    found[list(attrs.get("axes") or range(rank))] = np.asarray(scales)
    return found


def repeats(scales: np.ndarray, attrs: dict[str, Any]) -> bool:
    """Whether positions are repeated whole numbers of times."""
    return REPEATED.items() <= attrs.items() and bool((scales == np.rint(scales)).all())


def interpolates(x: Tensor, scales: Any, attrs: dict[str, Any]) -> bool:
    """Whether runtimes compute this: along two of four axes, the last ones or, linear, those in front of channels.

    Integers are left alone, which are rounded in a way of its own in each case.
    """
    if attrs["mode"] == "nearest":
        return True
    if x.rank != 4 or x.dtype not in FLOATS:
        return False
    batch, before, _, last = scales_of_all(scales, attrs, 4)
    channels_last = last == 1 and attrs["mode"] == "linear" and not attrs.get("antialias")
    return bool(batch == 1 and (before == 1 or channels_last))


def keeps_ratio(attrs: dict[str, Any]) -> bool:
    """Whether the ratio of rows and columns may decide about sizes."""
    return attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch"
