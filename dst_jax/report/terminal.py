"""Tables in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from dst_jax.report.pages import unfinished_note
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables import comparison, in_terminal
from dst_jax.report.tables.table import Table

__all__ = ["print_runs", "render", "show"]


def render(content: Table, *, gap: int = 1) -> RichTable:
    """A table for a rich console; its text is never read as markup.

    Args:
      content: a table.
      gap: number of spaces between columns, at least 1.

    >>> table = render(Table("A title", ("layer", "zeros"), (("fc", "12"),)))
    >>> [column.justify for column in table.columns]
    ['left', 'right']
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

    Columns are two spaces apart where the console is wide enough, else one. In a
    narrow console lines wrap, and no number is cut.

    Args:
      content: a table.
      console: a console; by default one on standard output.

    >>> show(Table("Zeros", ("layer", "zeros"), (("fc", "12"),)), Console(width=20))
    Zeros
    layer  zeros
    ────────────
    fc        12
    <BLANKLINE>
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


def print_runs(runs: Sequence[RunResults], console: Console) -> None:
    """Prints the tables of one run, or several runs side by side.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("static", "pruned", {"top1": 0.9}, 8)
    >>> print_runs([RunResults(Path("run"), (stage,))], Console(width=80))
    Accuracy, sparsity, multiplications
    ...
    """
    if len(runs) == 1:
        parts = in_terminal(runs[0])
    else:
        parts = [comparison.side_by_side(runs), comparison.over_seeds(runs)]
    for part in parts:
        if part.rows:
            show(part, console)
    for name, run in zip(comparison.run_names(runs), runs, strict=True):
        if run.unfinished:
            console.print(Text(f"{name}: {unfinished_note(run)}", style="yellow"))
