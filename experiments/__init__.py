"""One file per experiment: `python -m experiments.NAME`."""
