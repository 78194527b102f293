"""Comparing penalties: a grid of cells, a choice on the hold-out, one test each."""
