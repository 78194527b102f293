"""Comparisons: cells trained over seeds, chosen on the hold-out, tested once.

`penalties/` and `methods/` say what a cell is, what is measured and what is reported.
"""
