"""Rules that restore operators from the decompositions that exporters write."""
