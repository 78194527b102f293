"""Ranges of values: each is written next to its option, and one function checks all.

batch_size: Annotated[int, AT_LEAST_1] = 128
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_type_hints

__all__ = [
    "AT_LEAST_1",
    "NOT_NEGATIVE",
    "PERCENT",
    "POSITIVE",
    "SHARE",
    "Range",
    "check_ranges",
    "groups",
]


class Range(NamedTuple):
    """The values that an option may have; None, which is "not given", always passes."""

    allowed: str
    """The range in words, as an error ends: `must be at least 1`."""
    holds: Callable[[Any], bool]
    """Whether a value is in it; of a tuple, each of its values must be."""


AT_LEAST_1 = Range("at least 1", lambda x: x >= 1)
NOT_NEGATIVE = Range(">= 0 and finite", lambda x: 0 <= x < math.inf)
POSITIVE = Range("> 0 and finite", lambda x: 0 < x < math.inf)
SHARE = Range("in [0, 1)", lambda x: 0 <= x < 1)
PERCENT = Range("in [0, 100]", lambda x: 0 <= x <= 100)


def check_ranges(options: Any, prefix: str = "") -> None:
    """Checks every option of a dataclass, and of the dataclasses in it.

    Args:
      options: dataclass whose fields are annotated with a `Range`, or are dataclasses.
      prefix: what the names of the options begin with on the command line.

    Raises:
      ValueError: a value is out of range; names the option, the value and the range.

    >>> from experiments.options.data import DataOptions
    >>> check_ranges(DataOptions(batch_size=0), "data.")
    Traceback (most recent call last):
    ValueError: --data.batch_size must be at least 1, got 0
    """
    hints = get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{name}.")
        for mark in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(mark, Range) and not _all_hold(mark, value):
                raise ValueError(f"--{name} must be {mark.allowed}, got {value}")


def groups(options: Any) -> Iterator[Any]:
    """The groups of options in a dataclass: those of its fields that are dataclasses.

    >>> from experiments.options import Config
    >>> next(groups(Config())).name
    'digits'
    """
    values = (getattr(options, field.name) for field in dataclasses.fields(options))
    return (value for value in values if dataclasses.is_dataclass(value))


def _all_hold(allowed: Range, value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(x is None or allowed.holds(x) for x in values)
