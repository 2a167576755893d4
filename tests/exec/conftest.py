"""Programs of these tests are compiled quickly. Those of `tests/conformance` are compiled as a user's are."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def quickly(compiled_quickly: None) -> None:
    """All of them."""
