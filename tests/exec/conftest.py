"""Programs of tests are compiled without the optimisations that take XLA the most time.

Those of `tests/conformance` and `tests/properties` are compiled with all of them, as a user's are.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly() -> Iterator[None]:
    try:
        import jax
    except ImportError:
        yield
        return
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
