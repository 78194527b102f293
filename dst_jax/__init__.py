"""Dual sparse training in JAX: sparse weights, sparse activation maps, exact counts."""
