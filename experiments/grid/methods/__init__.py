"""Comparing methods of sparse training: each from scratch, with one recipe."""
