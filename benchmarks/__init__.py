"""Benchmarks: every figure is a ratio of two variants within one run."""
