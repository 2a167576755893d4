"""Inputs that look like images get a picture instead of noise, so that there is something to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def with_pictures(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """The same feeds, with a drawn picture in the place of each float image: of 0 to 1, in the same shape and dtype."""
    return {name: _picture(v) if _is_image(v) else v for name, v in feeds.items()}


def _is_image(value: Any) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != 4:
        return False
    channels = min(value.shape[1], value.shape[3])
    return channels in (1, 3) and min(sorted(value.shape)[-2:]) >= 16


def _picture(like: np.ndarray) -> np.ndarray:
    """Hills before a sky, with a sun; channels first or last as in `like`."""
    last = like.shape[3] in (1, 3)
    height, width = like.shape[1:3] if last else like.shape[2:]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    colours = np.stack([0.45 + 0.5 * y, 0.65 + 0.2 * y, 0.95 - 0.1 * y], -1)  # the sky
    sun = (x - 0.72) ** 2 + ((y - 0.28) * height / width) ** 2 < 0.11**2
    colours[sun] = (1.0, 0.85, 0.3)
    for k, colour in enumerate([(0.35, 0.5, 0.55), (0.2, 0.45, 0.35), (0.1, 0.3, 0.2)]):
        hill = y > 0.55 + 0.13 * k + (0.12 - 0.03 * k) * np.sin((7 - 2 * k) * x + 2 * k)
        colours[hill] = np.array(colour) * (0.8 + 0.4 * (1 - y[hill]))[:, None]
    channels = like.shape[3] if last else like.shape[1]
    image = colours if channels == 3 else colours.mean(-1, keepdims=True)
    image = image if last else np.moveaxis(image, -1, 0)
    return np.broadcast_to(image, like.shape).astype(like.dtype)
