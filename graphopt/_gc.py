"""Keeps Python's cyclic garbage collector from walking a large graph again and again while it is being built."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_gc() -> Iterator[None]:
    """Hold the collector off. Afterwards what was made meanwhile counts as old, so that it is not walked at once."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else the caller froze objects, and they must stay frozen
            gc.freeze()
            gc.unfreeze()
        gc.enable()
