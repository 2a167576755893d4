"""Proofs of rules: both sides run on the kernels with formulas in place of numbers, on small models in which the rule fires.

    refuted         in 50 digits, the sides differ at a point: the rule is wrong
    structural      they give the same formulas; or the same shapes for all sizes
    normal form     they give the same quotients of polynomials, in what is left of functions
    finite field    they agree at random points of a finite field, functions being uninterpreted
    smt             Z3 shows that no inputs tell them apart
    tested          none of that: its property test is all there is

What is claimed by the middle four: equality over the real numbers, not in floats, on the models that were drawn - small ones,
of fixed sizes, a few for every variant - with constants and attributes as they are there, wherever both sides are defined. Both
sides run on the same kernels, which have tests of their own.
"""

from graphopt.testing.proof.ladder import ORDER, Proof, catalogue, prove
from graphopt.testing.proof.record import outdated, source_hash, write

__all__ = ["ORDER", "Proof", "catalogue", "outdated", "prove", "source_hash", "write"]
