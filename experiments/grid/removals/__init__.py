"""Comparing removals of channels: each from its seed's baseline, with controls."""
