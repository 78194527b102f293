"""HTML from tables, figures and text: every value escaped, nothing from outside."""

import base64
import struct
from html import escape
from importlib import resources

from dst_jax.report.tables.table import Table

__all__ = ["details", "figure", "heading", "page", "paragraph", "table"]


def page(title: str, body: str) -> str:
    """A whole document that needs no other file.

    Args:
      title: plain text.
      body: HTML.

    >>> page("A run", heading("A run", level=1)).splitlines()[-2]
    '</body>'
    """
    css = resources.files("dst_jax.report").joinpath("report.css").read_text("utf-8")
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
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

    >>> zeros = Table("Zeros", ("layer", "zeros"), (("fc", "12"),))
    >>> table(zeros).splitlines()[0]
    '<h2>Zeros</h2>'
    >>> table(Table("Zeros", ("layer",), ()))
    ''
    """
    if not content.rows:
        return ""

    def cell(tag: str, i: int, text: str, scope: str = "") -> str:
        word = ' class="word"' if i < content.words else ""
        return f"<{tag}{scope}{word}>{escape(text)}</{tag}>"

    head = [cell("th", i, h, ' scope="col"') for i, h in enumerate(content.headings)]
    lines = []
    for row in content.rows:
        name = cell("th", 0, row[0], ' scope="row"')
        rest = [cell("td", i, text) for i, text in enumerate(row[1:], start=1)]
        lines.append(f"<tr>{name}{''.join(rest)}</tr>")
    kind = ' class="prose"' if content.words == len(content.headings) else ""
    headings = (
        f"<thead><tr>{''.join(head)}</tr></thead>\n" if any(content.headings) else ""
    )
    body = "\n".join(lines)
    return "\n".join(
        (
            heading(content.title) if title else "",
            f'<div class="scroll"><table{kind}>\n{headings}<tbody>',
            f"{body}\n</tbody></table></div>",
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
    '<figure><h2>Zeros</h2><img alt="Zeros" width="100" height="50" src="d'
    """
    width, height = struct.unpack(">II", png[16:24])  # the IHDR chunk
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure>{heading(title)}<img alt="{escape(title)}" width="{width // 2}" '
        f'height="{height // 2}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
