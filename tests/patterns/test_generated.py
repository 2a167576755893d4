"""Every rule of the package, tested from its own declaration, on every executor."""

from __future__ import annotations

import pytest

from graphopt.exec.executors import installed
from graphopt.patterns import all_rules
from graphopt.testing import QUICK, check_rule
from graphopt.testing.checking import EXECUTORS


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize("name", all_rules())
def test_rule(name: str) -> None:
    check = check_rule(all_rules()[name])
    assert check.fired >= QUICK.least
    for executor in EXECUTORS:
        assert check.compared[executor] or executor not in installed(), f"nothing was compared on {executor}: {check}"
