"""Reports of comparisons: a page, report.md as GitHub shows it, and the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from dst_jax.report import html
from dst_jax.report.figures import style
from dst_jax.report.tables.table import Table
from dst_jax.report.terminal import show

__all__ = ["markdown", "write"]


def write(
    directory: Path,
    title: str,
    tables: Sequence[Table],
    figures: Mapping[str, Figure] | None = None,
) -> Path:
    """Prints the tables; writes report.md, report.html and figures/*.png.

    Args:
      directory: the comparison's directory.
      title: heading of the report.
      tables: the tables, in order.
      figures: figures by name, after the tables.

    Returns:
      The path of report.md.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write(Path(folder), "Compared", [])
    ...     path.read_text().strip()
    '# Compared'
    """
    figures = figures or {}
    pngs = {name: style.png(figure) for name, figure in figures.items()}
    for name, png in pngs.items():
        path = directory / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png)
    images = [f"![{name}](figures/{name}.png)\n" for name in figures]
    path = directory / "report.md"
    path.write_text("\n".join([f"# {title}\n", *map(markdown, tables), *images]))
    body = [html.heading(title, level=1), *map(html.table, tables)]
    body += [html.figure(_words(name), "", png) for name, png in pngs.items()]
    page = html.page(title, "\n".join(body))
    (directory / "report.html").write_text(page, encoding="utf-8")
    for table in tables:
        show(table)
    return path


def markdown(table: Table) -> str:
    """A table as GitHub writes it.

    >>> print(markdown(Table("T", ("a", "b"), (("x", "1"),))))
    **T**
    <BLANKLINE>
    | a | b |
    |---|---:|
    | x | 1 |
    <BLANKLINE>
    """
    rule = ["---" if i < table.words else "---:" for i in range(len(table.headings))]
    lines = [
        "| " + " | ".join(table.headings) + " |",
        "|" + "|".join(rule) + "|",
        *("| " + " | ".join(row) + " |" for row in table.rows),
    ]
    note = f"\n{table.note}\n" if table.note else ""
    return f"**{table.title}**\n\n" + "\n".join(lines) + f"\n{note}"


def _words(name: str) -> str:
    """A figure's name as a heading."""
    return name.replace("_", " ").capitalize()
