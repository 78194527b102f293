"""What is written next to an option besides its type, and read by all commands alike.

batch_size: Annotated[int, AT_LEAST_1] = 128
threads: Annotated[int | None, FREE] = None
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_type_hints

__all__ = [
    "AT_LEAST_1",
    "FINITE",
    "FREE",
    "MOST_EPOCHS",
    "NOT_NEGATIVE",
    "PERCENT",
    "POSITIVE",
    "SEED",
    "SHARE",
    "Range",
    "at_most",
    "check_ranges",
    "free_options",
    "groups",
]


class Range(NamedTuple):
    """The values that an option may have; None, which is "not given", always passes."""

    allowed: str
    """The range in words, as an error ends: `must be at least 1`."""
    holds: Callable[[Any], bool]
    """Whether a value is in it; of a tuple, each of its values must be."""


def at_most(largest: int) -> Range:
    """The range of numbers up to one, next to another range that has the smallest.

    >>> at_most(3).holds(4)
    False
    """
    return Range(f"at most {largest}", lambda x: x <= largest)


AT_LEAST_1 = Range("at least 1", lambda x: x >= 1)
NOT_NEGATIVE = Range(">= 0 and finite", lambda x: 0 <= x < math.inf)
POSITIVE = Range("> 0 and finite", lambda x: 0 < x < math.inf)
SHARE = Range("in [0, 1)", lambda x: 0 <= x < 1)
PERCENT = Range("in [0, 100]", lambda x: 0 <= x <= 100)
FINITE = Range("finite", math.isfinite)
SEED = Range("in [0, 2**32)", lambda x: 0 <= x < 2**32)

MOST_EPOCHS = at_most(1_000_000)

_INTEGER = Range("below 2**32", lambda x: x < 2**32)
_FLOAT = Range(
    "0, or from 1.2e-38 to 3.4e38 in size, as float32 has it",
    lambda x: x == 0 or 2.0**-126 <= abs(x) < 2.0**128,
)

FREE = "free"
"""Marks an option that may have another value when a run goes on."""


def check_ranges(options: Any, prefix: str = "") -> None:
    """Checks every option of a dataclass, and of the dataclasses in it.

    Args:
      options: dataclass whose fields are annotated with a `Range`, or are dataclasses.
      prefix: what the names of the options begin with on the command line.

    Raises:
      ValueError: a value is out of range, or a number that no computation on a device
        can have; names the option, the value and the range.

    >>> from experiments.options.data import DataOptions
    >>> check_ranges(DataOptions(batch_size=0), "data.")
    Traceback (most recent call last):
    ValueError: --data.batch_size must be at least 1, got 0
    """
    for name, value, marks in _options(options, prefix):
        values = value if isinstance(value, tuple) else (value,)
        given = [x for x in values if x is not None]
        for mark in (*marks, *_of_its_type(given)):
            if isinstance(mark, Range) and not all(map(mark.holds, given)):
                raise ValueError(f"--{name} must be {mark.allowed}, got {value}")


def free_options(options: Any) -> set[str]:
    """Dotted names of the options that are marked `FREE`.

    >>> from experiments.options import Config
    >>> "data.threads" in free_options(Config())
    True
    """
    return {name for name, _, marks in _options(options) if FREE in marks}


def groups(options: Any) -> Iterator[Any]:
    """The groups of options in a dataclass: those of its fields that are dataclasses.

    >>> from experiments.options import Config
    >>> next(groups(Config())).name
    'digits'
    """
    values = (getattr(options, field.name) for field in dataclasses.fields(options))
    return (value for value in values if dataclasses.is_dataclass(value))


def _of_its_type(values: list[Any]) -> list[Range]:
    """The ranges of all numbers of these values' type."""
    if values and all(isinstance(x, float) for x in values):
        return [_FLOAT]
    return [_INTEGER] if values and all(isinstance(x, int) for x in values) else []


def _options(
    options: Any, prefix: str = ""
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Every option with its value and what it is annotated with."""
    hints = _hints(type(options))
    for field in dataclasses.fields(options):
        name, value = f"{prefix}{field.name}", getattr(options, field.name)
        yield name, value, getattr(hints[field.name], "__metadata__", ())
        if dataclasses.is_dataclass(value):
            yield from _options(value, f"{name}.")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)
