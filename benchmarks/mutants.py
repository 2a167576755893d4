"""Rules with one mistake put in, and how many of them the generated tests find.

    python -m benchmarks.mutants --cache results.jsonl           # every rule; goes on where it was left
    python -m benchmarks.mutants --rules 'gemm_*' --survivors    # some, and what became of each survivor
    python -m benchmarks.mutants --cache results.jsonl --again   # survivors and new mutants only

A survivor is listed in tests/testing/mutants_survivors.json once somebody has looked at it, with the reason: "equivalent:"
where no test can tell it from the rule, "the test lacks:" where one could. The rate is that of those that can be killed.
Exit code 1 where it is below --goal or a survivor is not listed.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import harness

KNOWN = Path(__file__).parents[1] / "tests" / "testing" / "mutants_survivors.json"
SECONDS = 120.0


class Killer:
    """Makes the mutants of rules and tests them, in a process of its own."""

    def __init__(self, profile: str, seed: int | None) -> None:
        import dataclasses

        from graphopt.patterns import all_rules
        from graphopt.testing.mutation import killing

        self.rules = all_rules()
        self.profile = getattr(killing, profile.upper())
        if seed is not None:
            self.profile = dataclasses.replace(self.profile, seed=seed)
        self._made: dict[str, list[Any]] = {}
        self._pools: dict[str, Any] = {}

    def mutants(self, name: str) -> list[dict[str, Any]]:
        """What there is to be tested of a rule."""
        return [
            {
                "rule": name,
                "family": self.rules[name].family,
                "kind": m.kind,
                "what": m.what,
                "line": m.line,
                "digest": m.digest,
            }
            for m in self._mutants(name)
        ]

    def kill(self, name: str, k: int) -> dict[str, Any]:
        """Test one of them."""
        from graphopt.testing.mutation.killing import Killed, Pool

        start = time.perf_counter()
        if name not in self._pools:
            self._pools = {name: Pool(self.rules[name], self.profile)}
        found = self._pools[name].kill(self._mutants(name)[k])
        seconds = round(time.perf_counter() - start, 2)
        if isinstance(found, Killed):
            return {"how": found.how, "why": found.why, "drawn": found.after, "seconds": seconds}
        return {"how": "", "why": found.why, "drawn": found.drawn, "fired": found.fired, "seconds": seconds}

    def _mutants(self, name: str) -> list[Any]:
        from graphopt.testing.mutation.mutants import mutants_of

        if name not in self._made:
            self._made = {name: mutants_of(self.rules[name])}
        return self._made[name]


def results(args: argparse.Namespace, names: list[str]) -> Iterator[dict[str, Any]]:
    """One after the other, from the cache where it has them."""
    cache = read(args.cache)
    worker = harness.Worker(Killer, args.profile, args.seed)
    start = time.monotonic()
    try:
        for name in names:
            for k, told in enumerate(worker.ask("mutants", name, timeout=60)):
                before = cache.get(told["digest"])
                if before is not None and (before["how"] or not args.again):
                    yield {**before, **told}
                    continue
                if args.minutes and time.monotonic() - start > 60 * args.minutes:
                    return
                try:
                    found = worker.ask("kill", name, k, timeout=SECONDS)
                except harness.WorkerError as e:
                    if e.kind == "error":
                        found = {"how": "", "why": f"the test itself failed: {e.text}", "drawn": 0, "seconds": 0}
                    else:
                        found = {
                            "how": "does not end" if e.kind == "timeout" else "crashes",
                            "why": e.text,
                            "seconds": SECONDS,
                        }
                told = {**found, **told}
                if args.cache:
                    with args.cache.open("a", encoding="utf-8") as f:
                        f.write(json.dumps(told) + "\n")
                yield told
    finally:
        worker.close()


def read(path: Path | None) -> dict[str, dict[str, Any]]:
    """Results by mutant, the last of each."""
    if path is None or not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {r["digest"]: r for r in map(json.loads, lines)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="*", default=["*"], help="names or patterns of names")
    parser.add_argument("--family", help="only rules of this file")
    parser.add_argument("--cache", type=Path, help="file of results, to go on with")
    parser.add_argument("--again", action="store_true", help="test survivors of the cache again")
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--profile", choices=("brief", "thorough"), default="thorough")
    parser.add_argument("--seed", type=int, help="of the first model (default: the profile's)")
    parser.add_argument("--survivors", action="store_true", help="show those that are listed, too")
    parser.add_argument("--goal", type=float, default=0.98)
    args = parser.parse_args()

    from graphopt.patterns import all_rules
    from graphopt.testing.mutation.killing import by_kind, known_of, tally

    names = [
        n for n, r in all_rules().items()
        if any(fnmatch.fnmatchcase(n, p) for p in args.rules) and args.family in (None, r.family)
    ]  # fmt: skip
    known = known_of(json.loads(KNOWN.read_text(encoding="utf-8"))) if KNOWN.exists() else {}
    told = list(results(args, names))
    table = tally([(r["family"], r["rule"], r["what"], bool(r["how"])) for r in told], known)
    for family in sorted(table, key=lambda f: (not f, f)):
        t = table[family]
        print(
            f"{family or 'all':20} {t.mutants:5} mutants {t.killed:5} killed {t.equivalent:4} equivalent "
            f"{t.lacking:4} the test lacks {t.new:4} not looked at   {t.rate:6.1%}"
        )
    print()
    for kind, (made, killed) in by_kind([(r["kind"], bool(r["how"])) for r in told]).items():
        print(f"{kind:32} {made:5} {killed:5} killed")
    print()
    how: dict[str, int] = {}
    for r in told:
        how[r["how"] or "survived"] = how.get(r["how"] or "survived", 0) + 1
    print(", ".join(f"{n} {h}" for h, n in sorted(how.items(), key=lambda i: -i[1])))
    for r in told:
        if r["how"]:
            continue
        listed = known.get((r["rule"], r["what"]))
        if listed is None or args.survivors:
            seen = listed or r["why"] or f"fired {r['fired']} times on {r['drawn']} models"
            print(f"{r['rule']}, line {r['line']}: {r['what']}\n    {seen}")
    total = table.get("")
    return int(total is None or total.rate < args.goal or total.new > 0)


if __name__ == "__main__":
    sys.exit(main())
