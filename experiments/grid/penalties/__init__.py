"""Comparing penalties: a grid of settings, and for each penalty the choice of one."""
