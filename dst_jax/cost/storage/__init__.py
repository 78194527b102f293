"""Bits that arrays take in formats for sparse data."""
