"""The pytest plugin: `pytest --graphopt-rules[=TARGET]` runs one test a rule, generated from its declaration.

pytest --graphopt-rules                        the package's own rules
pytest --graphopt-rules=my_rules.py            those of a file (or of a module)
pytest --graphopt-rules=my_rules.py::my_rule   one
pytest --graphopt-rules --graphopt-profile=nightly --graphopt-on=reference,jax
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graphopt.rewrite import Rule
    from graphopt.testing.profiles import Profile

_OWN = "graphopt.patterns"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("graphopt", "tests generated from graphopt's rules")
    group.addoption(
        "--graphopt-rules",
        action="append",
        nargs="?",
        const=_OWN,
        metavar="TARGET",
        help="test rules from their declarations: those of a file, of a module, FILE::NAME for one; without a value the "
        "package's own. May be repeated.",
    )
    group.addoption(
        "--graphopt-profile", default="quick", metavar="NAME", help="how much to try: quick (the default) or nightly"
    )
    group.addoption(
        "--graphopt-on",
        metavar="NAMES",
        help="executors, with commas between; the reference, ONNX Runtime and JAX by default",
    )


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    targets = config.getoption("--graphopt-rules")
    if targets:
        collector = Rules.from_parent(session, name="graphopt-rules", nodeid="graphopt-rules", targets=targets)
        items.extend(collector.collect())


class Rules(pytest.Collector):
    """The rules of some targets."""

    def __init__(self, *, targets: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.targets = targets

    def collect(self) -> Iterator[pytest.Item]:
        from graphopt.errors import GraphoptError
        from graphopt.exec.executors import known
        from graphopt.testing.loading import rules_in
        from graphopt.testing.profiles import PROFILES

        name, on = self.config.getoption("--graphopt-profile"), self.config.getoption("--graphopt-on")
        if name not in PROFILES:
            raise pytest.UsageError(f"--graphopt-profile: '{name}' is none; there are {', '.join(PROFILES)}")
        try:
            executors = known([n.strip() for n in on.split(",")]) if on else None
            for target in self.targets:
                for rule in rules_in(target):
                    yield RuleItem.from_parent(self, name=rule.name, rule=rule, profile=PROFILES[name], on=executors)
        except GraphoptError as e:
            raise pytest.UsageError(f"--graphopt-rules: {e}") from e


class RuleItem(pytest.Item):
    """The generated test of one rule."""

    def __init__(self, *, rule: Rule, profile: Profile, on: list[str] | None, **options: Any) -> None:
        super().__init__(**options)
        self.rule = rule
        self.profile = profile
        self.on = on

    def runtest(self) -> None:
        from graphopt.testing.checking import check_rule

        self.add_report_section("call", "graphopt", str(check_rule(self.rule, self.profile, self.on)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from graphopt.testing.checking import RuleFailure

        if isinstance(excinfo.value, RuleFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[str, int | None, str]:
        path, _, line = self.rule.where.rpartition(":")
        return path, int(line) - 1, f"rule {self.rule.name}"
