"""Rules that do not keep gradients: every rule of the package, on models drawn from its declaration.

    python -m benchmarks.gradients
    python -m benchmarks.gradients --rules 'gemm_*,softmax_*' --count 20 --json gradients.json

Gradients of both sides are compared by `graphopt.testing.check_rule_gradients`. Exit code 1 where a rule fails.
A rule that declares that it does not keep them (`@rule(keeps_gradients=False)`) is not tried; training leaves it out.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import time
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", default="*", help="names or globs, with commas between; default: all")
    parser.add_argument("--count", type=int, default=2, help="models a rule on which gradients are compared")
    parser.add_argument("--attempts", type=int, default=60, help="models drawn a rule, at most")
    parser.add_argument("--json", type=Path, help="keep the figures")
    options = parser.parse_args()

    import jax

    from graphopt.patterns import all_rules
    from graphopt.testing import RuleFailure, check_rule_gradients

    jax.config.update("jax_disable_most_optimizations", True)  # they take longer than what they speed up
    patterns = options.rules.split(",")
    chosen = [r for n, r in sorted(all_rules().items()) if any(fnmatch.fnmatch(n, p) for p in patterns)]
    if not chosen:
        parser.error(f"--rules: no rule is called {options.rules}")
    results: list[dict[str, Any]] = []
    for rule in chosen:
        started, failure = time.perf_counter(), ""
        try:
            check = check_rule_gradients(rule, options.count, options.attempts)
            compared, why = check.compared, "; ".join(f"{n} x {reason}" for reason, n in check.left_out.most_common(3))
        except RuleFailure as e:
            failure, compared, why = str(e), 0, "; ".join(map(str, e.differences))
        verdict = (
            "fails"
            if failure
            else "keeps"
            if compared
            else "nothing to compare"
            if rule.keeps_gradients
            else "declared"
        )
        seconds = time.perf_counter() - started
        results.append({"rule": rule.name, "verdict": verdict, "compared": compared, "why": why, "failure": failure})
        if verdict != "keeps":
            print(f"{rule.name}: {verdict} ({why}), {seconds:.1f} s", flush=True)
    counts = {v: sum(r["verdict"] == v for r in results) for v in ("keeps", "fails", "declared", "nothing to compare")}
    print(f"{len(results)} rules: " + ", ".join(f"{n} {v}" for v, n in counts.items()))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 1 if counts["fails"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
