"""The same tables for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from dst_jax.report.pages import unfinished_note
from dst_jax.report.results import Results
from dst_jax.report.tables import comparison
from dst_jax.report.tables import stages as stage_tables
from dst_jax.report.tables.accelerators import on_machines
from dst_jax.report.tables.table import Table

__all__ = ["print_runs", "render", "show"]


def render(content: Table, *, gap: int = 1) -> RichTable:
    """A table for a rich console; its text is never read as markup.

    Args:
      content: the table.
      gap: spaces between columns, at least 1.
    """
    table = RichTable(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, gap - 1, 0, 0),
        pad_edge=False,
        header_style="",
    )
    for i, heading in enumerate(content.headings):
        is_word = i < content.words
        cells = [row[i] for row in content.rows]
        breakable = [*heading.split(), *(" ".join(cells).split() if is_word else cells)]
        table.add_column(
            Text(heading),
            justify="left" if is_word else "right",
            min_width=max(map(len, breakable)),
            max_width=max(map(len, (*cells, *heading.split()))),
        )
    for row in content.rows:
        table.add_row(*map(Text, row))
    return table


def show(content: Table, console: Console | None = None) -> None:
    """Prints a table's title, the table and its note.

    It is as airy as the console's width allows; too narrow a console loses nothing.

    Args:
      content: the table.
      console: by default one on standard output.
    """
    console = Console() if console is None else console
    console.print(Text(content.title, style="bold"))
    endless = console.options.update(width=10_000)
    table = render(content, gap=2)
    if Measurement.get(console, endless, table).maximum > console.width:
        table = render(content, gap=1)
    least = Measurement.get(console, endless, table).minimum
    console.print(table, width=max(console.width, least), crop=False)
    console.print(Text(f"{content.note}\n" if content.note else "", style="dim"))


def print_runs(runs: Sequence[Results], console: Console) -> None:
    """Prints one run's stages and drift, or several runs side by side."""
    if len(runs) == 1:
        run = runs[0]
        parts = [stage_tables.stages(run), on_machines(run), stage_tables.drift(run)]
    else:
        parts = [comparison.side_by_side(runs), comparison.over_seeds(runs)]
    for part in parts:
        if part.rows:
            show(part, console)
    for name, run in zip(comparison.run_names(runs), runs, strict=True):
        if run.unfinished:
            console.print(Text(f"{name}: {unfinished_note(run)}", style="yellow"))
