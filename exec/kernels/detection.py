"""Detection of objects: choosing among boxes that overlap."""

from __future__ import annotations

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import kernel
from graphopt.exec.kernels.selection import first_k

#: Boxes that are compared with each other at once.
_BATCH = 64


@kernel("NonMaxSuppression", since=10, on_host=True)
def non_max_suppression(
    xp: Backend,
    boxes: np.ndarray,
    scores: np.ndarray,
    max_output_boxes_per_class: np.ndarray | None = None,
    iou_threshold: np.ndarray | None = None,
    score_threshold: np.ndarray | None = None,
    *,
    center_point_box: int = 0,
) -> np.ndarray:
    """For each image and class, the boxes [image, class, box] that none with a higher score overlaps too much.

    Boxes are [images, boxes, 4], scores [images, classes, boxes].
    """
    most = int(_first(max_output_boxes_per_class, 0))
    chosen = [np.empty((0, 3), np.int64)]
    if most > 0:
        overlap = np.float32(_first(iou_threshold, 0.0))
        corners = _corners(boxes, bool(center_point_box))
        candidates = scores > _first(score_threshold, -np.inf)
        for image, class_ in zip(*np.nonzero(candidates.any(axis=-1))):
            found = np.flatnonzero(candidates[image, class_])
            found = found[first_k(scores[image, class_, found], len(found), largest=True)[1]]
            kept = _kept(corners[:, image], found, overlap, most)
            chosen.append(np.column_stack([np.full((len(kept), 2), (image, class_)), kept]))
    return np.concatenate(chosen).astype(np.int64)


def _first(x: np.ndarray | None, default: float) -> float:
    """The number in a tensor that has one or none."""
    return default if x is None or x.size == 0 else x.reshape(-1)[0]


def _corners(boxes: np.ndarray, centered: bool) -> np.ndarray:
    """[the two lowest coordinates, the two highest, and the area; images, boxes]."""
    numbers = np.ascontiguousarray(np.moveaxis(boxes, -1, 0))
    a, b = numbers[:2], numbers[2:]
    low, high = (a - b / 2, a + b / 2) if centered else (np.minimum(a, b), np.maximum(a, b))
    height, width = high - low
    return np.concatenate([low, high, (height * width)[None]])


def _kept(corners: np.ndarray, order: np.ndarray, overlap: np.float32, most: int) -> np.ndarray:
    """Which boxes, taken in an order, overlap with none kept before."""
    kept = order[:0]
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        boxes = corners[:, batch]
        if len(kept):
            free = ~_overlapping(corners[:, kept], boxes, overlap).any(axis=0)
            batch, boxes = batch[free], boxes[:, free]
        hidden, chosen = 0, []
        rows = np.packbits(_overlapping(boxes, boxes, overlap), axis=1, bitorder="little")
        for i, row in enumerate(rows):  # sets of boxes are the bits of integers
            if not hidden >> i & 1:
                chosen.append(i)
                hidden |= int.from_bytes(row.tobytes(), "little")
        kept = np.concatenate([kept, batch[chosen]])
        if len(kept) >= most:
            break
    return kept[:most]


def _overlapping(a: np.ndarray, b: np.ndarray, overlap: np.float32) -> np.ndarray:
    """Whether boxes have more than a share of their union in common, each of the one with each of the other."""
    a = a[:, :, None]
    height = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    width = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    common = np.maximum(height, 0) * np.maximum(width, 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # boxes without an area overlap with none
        return common / (a[4] + b[4] - common) > overlap
