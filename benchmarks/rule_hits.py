"""How often each rule fires on a folder of models; with --write it is recorded for the rule catalogue of the documentation.

    python -m benchmarks.rule_hits --models FOLDER [--only ids] [--write]

Every model is optimised twice: at level 2, and for ONNX Runtime, which includes level 2 and may lead the model to a newer opset.
An application counts for the rule that the ledger names, also where a later step replaced what it wrote. Rules that fire nowhere
are listed last: they are for models that the folder lacks, or for what is left when other rules have gone first.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness, models

#: What is committed, and read by docs/generate/catalogue.py.
RECORD = Path(__file__).with_name("rule_hits.json")
#: How the models are optimised: the table's name for it, and the arguments of `graphopt.optimize`.
WAYS: dict[str, dict[str, Any]] = {"level 2": {"level": 2}, "onnxruntime": {"target": "onnxruntime"}}


class Counting:
    """What runs in a worker: one model after the other."""

    def count(self, source: str, options: dict[str, Any]) -> dict[str, int]:
        """Applications by the name of the rule or pass."""
        import graphopt

        report = graphopt.optimize(source, **options).report
        assert report is not None
        return {name: n for name, n, _, _ in report.by_rule()}


def totals(found: Mapping[str, Sequence[Mapping[str, int]]], rules: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """By rule and way: applications, and models in which there was one; rules that never fired have no entry.

    Args:
        found: by way, the applications in each model.
        rules: the names of the rules, in the order in which they come out; what else fired is a pass, and is left out.
    """
    table: dict[str, dict[str, list[int]]] = {}
    for way, counts in found.items():
        applications: Counter[str] = Counter()
        where: Counter[str] = Counter()
        for one in counts:
            applications.update(one)
            where.update({name: 1 for name, n in one.items() if n})
        for name in rules:
            if applications[name]:
                table.setdefault(name, {})[way] = [applications[name], where[name]]
    return {name: table[name] for name in rules if name in table}


def text(table: Mapping[str, Any], count: int) -> str:
    """The record as it is committed: a rule a line, so that a change is a readable difference."""
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in table.items()]
    return f'{{\n"models": {count},\n"rules": {{\n' + ",\n".join(lines) + "\n}\n}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="a folder, a manifest or one .onnx file")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="ids of the manifest")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a model (default: 300)")
    parser.add_argument("--write", action="store_true", help=f"record it in benchmarks/{RECORD.name}; not with --only")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args(arguments)
    if options.write and options.only:
        parser.error("--write records a whole folder; leave out --only")

    from graphopt.patterns import all_rules

    worker = harness.Worker(Counting)
    found: dict[str, list[dict[str, int]]] = {way: [] for way in WAYS}
    failed: list[str] = []
    wanted = models.entries(options.models, options.only)
    for entry in wanted:
        harness.progress(entry["id"])
        for way, asked in WAYS.items():
            try:
                found[way].append(worker.ask("count", entry["path"], asked, timeout=options.timeout))
            except harness.WorkerError as e:
                failed.append(f"{entry['id']} ({way}): {e}")
    worker.close()
    names = sorted(all_rules())
    table = totals(found, names)
    rows = [(n, *(f"{r[w][0]} in {r[w][1]}" if w in r else "-" for w in WAYS)) for n, r in table.items()]
    harness.print_table(("rule", *WAYS), rows)
    silent = [n for n in names if n not in table]
    print(f"{len(table)} of {len(names)} rules fire in {len(wanted)} models; these do not: {', '.join(silent)}")
    for line in failed:
        print(f"failed: {line}")
    harness.write_json(options.json, {"models": len(wanted), "rules": table, "failed": failed})
    if options.write and not failed:
        RECORD.write_text(text(table, len(wanted)), encoding="utf-8")
        print(f"written to benchmarks/{RECORD.name}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
