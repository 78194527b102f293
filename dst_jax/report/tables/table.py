"""A table as data, and how numbers are written in it."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "Table",
    "csv_text",
    "duration",
    "filled",
    "named",
    "number",
    "percent",
    "signed",
]


@dataclass(frozen=True)
class Table:
    """Headings and rows of text.

    A first cell that is empty has the text of the one above it.

    Attributes:
      title: title above the table.
      headings: headings, one per column.
      rows: rows of text.
      note: text below the table.
      words: number of leading columns that are left-aligned.
      named: stages, methods and penalties by the texts of cells and headings that
        name them, which a page shows with their colours.
      totals: number of trailing rows that sum up those above them.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: int = 1
    named: Mapping[str, str] = field(default_factory=dict)
    totals: int = 0


def csv_text(table: Table) -> str:
    """A table as CSV: whole rows, numbers without separators, nothing for `-`.

    >>> csv_text(Table("T", ("layer", "weights"), (("fc", "1,200"), ("", "-"))))
    'layer,weights\\nfc,1200\\nfc,\\n'
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(table.headings)
    for row in filled(table):
        writer.writerow(map(_plain, row))
    return lines.getvalue()


def filled(table: Table) -> list[tuple[str, ...]]:
    """The rows, with the text above in place of an empty first cell.

    >>> filled(Table("T", ("run", "stage"), (("a", "dense"), ("", "pruned"))))
    [('a', 'dense'), ('a', 'pruned')]
    """
    rows, above = [], ""
    for first, *others in table.rows:
        above = first or above
        rows.append((above, *others))
    return rows


def named(names: Iterable[str], form: str = "{}") -> dict[str, str]:
    """Names by the texts of cells or headings that are made of them.

    Args:
      names: stages, methods or penalties.
      form: text, with the name in place of `{}`.

    >>> named(["pruned"], "{} %")
    {'pruned %': 'pruned'}
    """
    return {form.format(name): name for name in names}


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


def _plain(cell: str) -> str:
    """A cell as a program reads it."""
    if cell == "-":
        return ""
    grouped = re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", cell)
    return cell.replace(",", "") if grouped else cell
