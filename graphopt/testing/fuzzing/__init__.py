"""Fuzzing an optimizer with random models: examine, shrink, keep."""
