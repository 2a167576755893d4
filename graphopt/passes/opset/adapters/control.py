"""Scan."""

from __future__ import annotations

from graphopt.passes.opset.site import Site
from graphopt.passes.opset.transitions import Cannot, down, up


@up("Scan", version=9, typed=False)
def without_batch(site: Site) -> bool:
    raise Cannot("it runs over a batch of sequences, which no later version does")


@down("Scan", version=9)
def with_batch(site: Site) -> bool:
    raise Cannot("it runs over a batch of sequences there")
