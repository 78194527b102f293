"""Cycles, traffic and energy of profiled operations on modelled accelerators."""
