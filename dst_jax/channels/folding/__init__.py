"""Removed units that are constants, and the parameters that take them over."""

from dst_jax.channels.folding.absences import Absences
from dst_jax.channels.folding.lacks import Traced

__all__ = ["Absences", "Traced"]
