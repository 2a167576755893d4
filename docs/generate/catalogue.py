"""The rule catalogue: an overview, and a page for each file of rules."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from onnx import defs

from docs.generate.examples import Example
from graphopt.ir import op_schema
from graphopt.patterns import PHASES, TARGET_PHASES, proofs, rules_of
from graphopt.rewrite import Rule
from graphopt.testing.declarations.signature import exists

ROOT = Path(__file__).resolve().parents[2]
HITS = ROOT / "benchmarks" / "rule_hits.json"
FIRST_OPSET = 7
_PHASES = {
    "raising": "restore operators from what exporters write out",
    "simplifying": "algebra on the canonical form",
    "lowering": "what runs best anywhere",
    "onnxruntime_cpu": "level 3 with target onnxruntime: forms that its CPU kernels run fastest",
}
_OVERVIEW = """\
# Rule catalogue

All {rules} rules, from their own source: {exact} exact, the others equal up to rounding. {fired} of them fire on the {models}
models that the project is measured on; the others are for models that are not among these. [The rule language](../rules.md)
tells how to read and to write one.

| word | means |
| --- | --- |
| exact | both sides agree in every bit, so that the rule runs at level 1; *rounded*: equal up to rounding, level 2 |
| picture | the plainest of the models that are drawn from the rule's declaration, and what the rule makes of it |
| opsets | those at which the operators of the left side and of the picture exist |
| proof | the rung that `graphopt.testing.prove` reaches ([what is claimed](../testing.md#proofs)) |
| hits | applications, and models with one, among {models}: `python -m benchmarks.rule_hits --models FOLDER --write` |

`graphopt rules NAME` shows a rule with its source. The search box finds rules by name and by operator.
"""


def families() -> dict[tuple[str, str], list[Rule]]:
    """The rules by phase and file, in the order in which they run."""
    found: dict[tuple[str, str], list[Rule]] = {}
    for phase in (*PHASES, *TARGET_PHASES):
        for rule in rules_of(phase):
            found.setdefault((phase, rule.family), []).append(rule)
    return found


def page_of(phase: str, family: str) -> str:
    """Address of a family's page, below docs/."""
    return f"catalogue/{phase}/{family}.md"


# ---------------------------------------------------------------------------------------------------------------- pages
def overview() -> str:
    """The catalogue's first page: what the words mean, and a row for each family."""
    every, record = [r for rules in families().values() for r in rules], hits()
    fired = sum(r.name in record["rules"] for r in every)
    exact = sum(r.exact for r in every)
    lines = [_OVERVIEW.format(rules=len(every), exact=exact, fired=fired, models=record["models"])]
    for phase in (*PHASES, *TARGET_PHASES):
        lines += [f"## {phase}", "", f"{_PHASES[phase].capitalize()}.", ""]
        lines += [
            "| family | rules | exact | hits at level 2 | for onnxruntime | about |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for (of, family), rules in families().items():
            if of == phase:
                numbers = [sum(_fired(r.name, way) for r in rules) for way in ("level 2", "onnxruntime")]
                exact = sum(r.exact for r in rules)
                address = page_of(phase, family).removeprefix("catalogue/")
                lines.append(
                    f"| [{family}]({address}) | {len(rules)} | {exact} | {numbers[0]} | {numbers[1]} | {_about(rules[0])} |"
                )
        lines.append("")
    return "\n".join(lines)


def page(phase: str, family: str, rules: Sequence[Rule], examples: dict[str, Example]) -> str:
    """The page of a file of rules."""
    lines = [f"# {phase} / {family}", "", _about(rules[0]), ""]
    for rule in rules:
        lines += _entry(rule, examples[rule.name])
    return "\n".join(lines)


def _about(rule: Rule) -> str:
    """What the file says of itself, its first line."""
    text = inspect.getdoc(importlib.import_module(rule.fn.__module__)) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")


def _entry(rule: Rule, example: Example) -> Iterator[str]:
    proof = proofs().get(rule.name, {"rung": "tested", "note": ""})
    yield f"## {rule.name} {{ #{rule.name} }}"
    yield ""
    if rule.doc:
        yield f"{escape(' '.join(rule.doc.split()), quote=False)}\n"
    yield f"``` {{ .text .equation }}\n{rule.equation}\n```"
    yield ""
    yield f"<!-- drawing {rule.name} -->"
    yield ""
    yield f"- **{'exact' if rule.exact else 'rounded'}**, opsets: {opsets(rule, example)}"
    note = f" ({proof['note']})" if proof["note"] else ""
    yield f"- proof: **{proof['rung']}**{note}"
    if not rule.keeps_gradients:
        yield "- does not keep gradients: training leaves it out"
    yield f"- hits: {_hits(rule.name)}"
    yield f"- source: `{place(rule)}`"
    yield ""


def place(rule: Rule) -> str:
    """File and line of a rule, from the root of the repository."""
    file, _, line = rule.where.rpartition(":")
    return f"{Path(file).resolve().relative_to(ROOT).as_posix()}:{line}"


# -------------------------------------------------------------------------------------------------------------- figures
def opsets(rule: Rule, example: Example) -> str:
    """The opsets at which some variant of the left side exists, and so do the operators that the example ends with: '13 and
    later', '7 to 9'. Operators of other domains have no say."""
    written = {n.op_type for n in example.after.graph.node if not n.domain} - {
        n.op_type for n in example.before.graph.node
    }
    good = [
        v
        for v in range(max(FIRST_OPSET, rule.since), defs.onnx_opset_version() + 1)
        if all((s := op_schema(name, v)) is not None and not s.deprecated for name in written)
        and any(all(exists(c, v) for c in variant.calls if not c.domain) for variant in rule.variants)
    ]
    if not good:
        return "before 7"
    return f"{good[0]} and later" if good[-1] == defs.onnx_opset_version() else f"{good[0]} to {good[-1]}"


def hits() -> dict[str, dict[str, dict[str, list[int]]]]:
    """What `python -m benchmarks.rule_hits` recorded."""
    return json.loads(HITS.read_text(encoding="utf-8"))


def _fired(name: str, way: str) -> int:
    return hits()["rules"].get(name, {}).get(way, [0, 0])[0]


def _hits(name: str) -> str:
    found = hits()["rules"].get(name)
    if found is None:
        return "none"
    return ", ".join(f"{n} in {models} models ({way})" for way, (n, models) in found.items())
