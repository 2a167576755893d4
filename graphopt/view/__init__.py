"""Models and reports to look at. Nothing is imported here: each way to look at them has packages of its own to wait for."""
