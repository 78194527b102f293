"""HTML from tables, figures and text: every value escaped, nothing from outside."""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

from dst_jax.report.looks import GLYPHS, Look, looks
from dst_jax.report.tables.table import Table, csv_text, filled

__all__ = ["details", "figure", "heading", "page", "paragraph", "table"]


_SHORT = 24
"""Letters of a name that is not broken into lines."""


def page(title: str, body: str) -> str:
    """A whole document that needs no other file.

    Its script sorts tables and saves them; without it, nothing is missing from view.

    Args:
      title: plain text.
      body: HTML.

    >>> page("A run", heading("A run", level=1)).splitlines()[-2]
    '</body>'
    """
    css, script = (
        resources.files("dst_jax.report").joinpath(name).read_text("utf-8")
        for name in ("report.css", "report.js")
    )
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n{body}\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading.

    >>> heading("a < b")
    '<h2>a &lt; b</h2>'
    """
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a CSS class, or nothing for an empty text.

    >>> paragraph("3 & 4", "note")
    '<p class="note">3 &amp; 4</p>'
    """
    if not text:
        return ""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(content: Table, *, title: bool = True) -> str:
    """A table with its title above and its note below; nothing without rows.

    Stages, methods and penalties have their colours and markers, which are attributes:
    the text is that of the table.

    >>> zeros = Table("Zeros", ("layer", "zeros"), (("fc", "12"),))
    >>> table(zeros).splitlines()[0]
    '<h2>Zeros</h2>'
    >>> table(Table("Zeros", ("layer",), ()))
    ''
    """
    if not content.rows:
        return ""
    has_head = any(content.headings)
    kinds = ["prose"] if content.words == len(content.headings) else []
    kinds += ["sortable"] if has_head and len(content.rows) > 1 else []
    drawn = looks(list(content.named.values()))
    cells = [_cell("th", content, drawn, i, h) for i, h in enumerate(content.headings)]
    lines = [_row(content, drawn, i) for i in range(len(content.rows))]
    cut = len(lines) - content.totals
    parts = [f"<tbody>\n{_joined(lines[:cut])}</tbody>"]
    if has_head:
        parts.insert(0, f"<thead><tr>{''.join(cells)}</tr></thead>")
    if content.totals:
        parts.append(f"<tfoot>\n{_joined(lines[cut:])}</tfoot>")
    of_class = f' class="{" ".join(kinds)}"' if kinds else ""
    return "\n".join(
        (
            heading(content.title) if title else "",
            f'<div class="scroll" tabindex="0"><table{of_class}>',
            *parts,
            f"</table></div>{_save_button(content) if has_head else ''}",
            paragraph(content.note, "note"),
        )
    )


def details(content: Table) -> str:
    """A table that unfolds on a click; nothing without rows.

    >>> details(Table("Zeros", ("layer", "zeros"), (("fc", "12"),))).splitlines()[0]
    '<details><summary>Zeros</summary>'
    """
    if not content.rows:
        return ""
    summary = f"<summary>{escape(content.title)}</summary>"
    return f"<details>{summary}\n{table(content, title=False)}\n</details>"


def figure(title: str, caption: str, png: bytes) -> str:
    """A PNG as a data URI, shown at half its pixels: sharp on dense screens too.

    >>> header = bytes(16) + struct.pack(">II", 200, 100)
    >>> figure("Zeros", "By layer.", header).splitlines()[0][:69]
    '<figure><h2>Zeros</h2><div class="scroll" tabindex="0"><img alt="Zero'
    """
    width, height = struct.unpack(">II", png[16:24])  # the IHDR chunk
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure>{heading(title)}<div class="scroll" tabindex="0"><img '
        f'alt="{escape(title)}" width="{width // 2}" '
        f'height="{height // 2}" src="data:image/png;base64,{data}"></div>\n'
        f"{caption and f'<figcaption>{escape(caption)}</figcaption>'}</figure>"
    )


def _row(content: Table, drawn: Mapping[str, Look], i: int) -> str:
    """A row; a name that the row above has too is quiet."""
    first, *others = filled(content)[i]
    again = " again" if not content.rows[i][0] else ""
    cells = [_cell("th", content, drawn, 0, first, scope="row", more=again)]
    cells += [_cell("td", content, drawn, j, x) for j, x in enumerate(others, start=1)]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(
    tag: str,
    content: Table,
    drawn: Mapping[str, Look],
    column: int,
    text: str,
    *,
    scope: str = "col",
    more: str = "",
) -> str:
    """A cell or heading of a column, with the look of what it names."""
    kinds = "word" if column < content.words else ""
    kinds += more
    marked = ""
    if text in content.named:
        kinds += " named short" if len(text) <= _SHORT else " named"
        look = drawn[content.named[text]]
        glyph = GLYPHS[look.marker]
        marked = f' data-mark="{glyph}" style="--mark: {look.colour}"'
    of_class = f' class="{kinds.strip()}"' if kinds else ""
    of_scope = f' scope="{scope}"' if tag == "th" else ""
    return f"<{tag}{of_scope}{of_class}{marked}>{escape(text)}</{tag}>"


def _save_button(content: Table) -> str:
    """A button with the table's CSV in it, shown by the script that saves it."""
    words = re.findall(r"\w+", content.title.lower())
    return (
        f'<button type="button" class="save" hidden data-name="{"-".join(words)}.csv"'
        f' data-csv="{escape(csv_text(content))}">CSV</button>'
    )


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
