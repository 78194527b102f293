"""Options are refused at construction: the argument, the value, what is allowed."""

from collections.abc import Collection
from typing import Any

from dst_jax.typing import is_traced


def fraction(name: str, value: Any) -> None:
    """Refuses what is outside [0, 1); a traced value, unknown here, passes."""
    if not is_traced(value) and not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")


def share(name: str, value: Any) -> None:
    """Refuses what is outside [0, 1]; a traced value passes."""
    if not is_traced(value) and not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


def at_least(name: str, value: Any, least: Any) -> None:
    """Refuses what is below `least` or not finite; traced values pass."""
    if is_traced(value) or is_traced(least):
        return
    if not least <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number >= {least}, got {value}")


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """Refuses what is not in `known`."""
    if value not in known:
        raise ValueError(f"{name} must be one of {tuple(known)}, got {value!r}")
