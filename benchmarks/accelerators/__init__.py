"""Accelerator models and published numbers: `python -m benchmarks.accelerators`."""
