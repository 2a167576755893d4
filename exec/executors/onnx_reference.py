"""onnx.reference, the standard's own evaluator, as an executor."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from graphopt.errors import UnsupportedError
from graphopt.exec.executors.base import Feeds, Source


class OnnxReference:
    """onnx.reference, the standard's own evaluator: NumPy, slow, an opinion independent of any runtime's.

    Args:
        model: a path (with or without external data), or bytes.
        folder: what external data is relative to, where the model comes as bytes.

    Raises:
        UnsupportedError: it has no implementation of an operator: one of another domain, or at this version of the standard.
        Exception: what onnx.reference raises for a model that it does not load.
    """

    def __init__(self, model: Source, *, folder: str | os.PathLike[str] | None = None) -> None:
        from onnx.reference import ReferenceEvaluator

        proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(os.fspath(model))
        if folder is not None:
            onnx.load_external_data_for_model(proto, os.fspath(folder))
        with _told_apart():
            self._evaluator = ReferenceEvaluator(proto)

    def run(self, feeds: Feeds, /) -> dict[str, Any]:
        with _told_apart(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs: Any = self._evaluator.run(None, dict(feeds))
        return dict(zip(self._evaluator.output_names, outputs, strict=True))


# ------------------------------------------------------------------------------------------------- what a failure means
_LACKS = re.compile(
    r"No (?:registered )?implementation for operator '(\w*)'.*?domain '([\w.\-]*)'"
    r"|Node type '(\w*)' from domain '([\w.\-]*)' is unknown",
    re.DOTALL,
)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Turn 'this evaluator has no such operator' into UnsupportedError; an operator that does not exist stays an error."""
    try:
        yield
    except Exception as e:
        if lacks := _LACKS.search(str(e)):
            op, domain = lacks[1] or lacks[3], lacks[2] or lacks[4]
            if domain or onnx.defs.has(op):
                name = f"{domain}.{op}" if domain else op
                raise UnsupportedError(f"onnx.reference has no implementation of {name} at this version") from e
        raise
