"""Exact counts and profiles of every convolution and matrix product."""
