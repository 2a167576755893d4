"""How much of the rules is proved, and by what; with --write it is recorded beside the rules.

    python -m benchmarks.proofs [--rules NAME... | --outdated] [--write]

A rule is proved on small models of fixed sizes, over the real numbers: see graphopt.testing.proof.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from graphopt.patterns import all_rules
from graphopt.patterns import proofs as recorded
from graphopt.testing.proof import ORDER, Proof, outdated, prove, write


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--outdated", action="store_true", help="only those whose source is not the recorded one")
    parser.add_argument("--write", action="store_true", help="record what was found in patterns/proofs.json")
    arguments = parser.parse_args()
    known = all_rules()
    wanted = outdated(recorded(), known) if arguments.outdated else arguments.rules or known
    if unknown := [n for n in wanted if n not in known and not arguments.outdated]:
        parser.error(f"no rule is named {', '.join(unknown)}")
    rules = {n: known[n] for n in wanted if n in known}
    started, proofs = time.perf_counter(), {}
    for name, rule in rules.items():
        proof = proofs[name] = prove(rule)
        print(f"{name}: {proof.rung} ({proof.note})", flush=True)
        if proof.counterexample:
            print(proof.counterexample)
    _report(proofs, time.perf_counter() - started)
    if arguments.write:
        print(f"written to {write(proofs, known)}")
    return int(any(p.rung == "refuted" for p in proofs.values()))


def _report(proofs: dict[str, Proof], seconds: float) -> None:
    counts = Counter(p.rung for p in proofs.values())
    print(f"\n{len(proofs)} rules, {seconds:.0f} s")
    above = sum(p.proved for p in proofs.values())
    for name, n in [*((rung, counts[rung]) for rung in reversed(ORDER)), ("above tested", above)]:
        if n:
            print(f"  {name:14} {n:4}  {100 * n / len(proofs):.1f} %")


if __name__ == "__main__":
    sys.exit(main())
