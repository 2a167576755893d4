"""Packages whose names are imported when they are asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["graphopt", "graphopt.exec", "graphopt.exec.training", "graphopt.testing", "graphopt.view"]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_names_are_there(name: str) -> None:
    package = importlib.import_module(name)
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, public) is not None for public in package.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_nothing_is_imported_before() -> None:
    code = (
        f"import sys, {', '.join(PACKAGES)}; print(*sys.modules.keys() & {{'onnx', 'numpy', 'jax', 'sympy', 'igraph'}})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
