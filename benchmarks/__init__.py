"""Measuring graphopt, beside its peers where that makes sense; a command each: `python -m benchmarks.NAME --help`."""
