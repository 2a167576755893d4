"""What docs/testing.md tells users to write works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import graphopt
from graphopt.demo import demo_model
from graphopt.testing import RuleFailure
from graphopt.testing.operators import known_operators, registry
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def block(mention: str) -> str:
    return next(b for b in BLOCKS if mention in b)


def test_the_first_rule_is_found_wrong() -> None:
    with pytest.raises(RuleFailure) as found:
        exec(block("def batch_norm_into_conv"), {"__name__": "example"})
    assert found.value.instance is not None and len(found.value.instance.model.graph.node) == 2


def test_the_regression_suite(tmp_path: Path) -> None:
    (tmp_path / "test_models.py").write_text(block("# test_models.py"))
    (tmp_path / "my_rules.py").write_text(
        "from graphopt.rewrite import op, rule\n\n\n"
        "@rule(exact=True)\ndef abs_of_abs(x):\n    yield op.Abs(op.Abs(x))\n    yield op.Abs(x)\n\n\n"
        "RULES = [abs_of_abs]\n"
    )
    (tmp_path / "models").mkdir()
    graphopt.load(demo_model()).save(tmp_path / "models" / "demo.onnx")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


def test_operands_of_a_custom_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    known_operators()  # all of the package's are there
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))
    exec(block('@operands("Scale"'), {})
    assert registry._TABLE["my.domain::Scale"].ranks == {0: (3, 5)}
