"""`pytest --graphopt-rules`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RULES = """
from graphopt.rewrite import op, rule


@rule(exact=True)
def right(x):
    yield -(-x)
    yield x


@rule(exact=True)
def wrong(x, y):
    yield -(x - y)
    yield x - y
"""


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--graphopt-on=reference", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_test_for_each_rule(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    code, text = run(tmp_path, "--graphopt-rules=rules.py")
    assert code == 1
    assert "1 failed, 1 passed" in text
    assert "claims that every bit agrees, and is wrong" in text and "rule wrong" in text


def test_one_rule(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    code, text = run(tmp_path, "--graphopt-rules=rules.py::right")
    assert code == 0 and "1 passed" in text


def test_what_does_not_exist_is_said(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    for arguments, told in (
        (["--graphopt-rules=none.py"], "no such file"),
        (["--graphopt-rules=rules.py::neither"], "no rule 'neither'"),
        (["--graphopt-rules=rules.py", "--graphopt-profile=weekly"], "'weekly' is none"),
    ):
        code, text = run(tmp_path, *arguments)
        assert code == 4 and told in text, text


def test_without_the_option_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_x(): pass\n")
    code, text = run(tmp_path)
    assert code == 0 and "1 passed" in text
