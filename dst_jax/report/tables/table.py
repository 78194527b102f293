"""A table as data, and how numbers are written in it."""

import math
from dataclasses import dataclass

__all__ = ["Table", "duration", "number", "percent", "signed"]


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; `words` leading columns are left-aligned."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: int = 1


def percent(share: float | None) -> str:
    """A share in [0, 1] as percent with two decimals, `-` if there is none.

    >>> percent(0.8599), percent(None), percent(float("nan"))
    ('85.99', '-', '-')
    """
    return number(None if share is None else 100 * share, 2)


def signed(share: float | None) -> str:
    """A difference of two shares in percentage points, `-` if there is none.

    >>> signed(0.0003), signed(-0.01), signed(None)
    ('+0.03', '-1.00', '-')
    """
    return "-" if share is None or math.isnan(share) else f"{100 * share:+.2f}"


def number(value: int | float | None, decimals: int = 0) -> str:
    """A number with thousands separators, `-` if there is none.

    >>> number(1814073344), number(0.9612, 3), number(None)
    ('1,814,073,344', '0.961', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.{decimals}f}"


def duration(seconds: float) -> str:
    """A time span in seconds, minutes or hours, as it is long.

    >>> duration(12.3), duration(150.0), duration(7260.0)
    ('12.3 s', '2 min 30 s', '2 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
