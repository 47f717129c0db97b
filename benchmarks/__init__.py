"""Figures of the whole system, from outside: run one with `python -m benchmarks.NAME --help`."""
