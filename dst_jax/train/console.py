"""What a run says while it runs: a live line on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["Console"]


class Console:
    """Prints a line per event; on a terminal, also a bar for the current stage.

    Args:
      console: where lines go; standard output by default.
      quiet: whether nothing is printed.

    >>> Console().say("pretrain: resuming at step 8/16")
    pretrain: resuming at step 8/16
    """

    def __init__(
        self, console: rich.console.Console | None = None, *, quiet: bool = False
    ):
        self.console = console or rich.console.Console(
            highlight=False, soft_wrap=True, quiet=quiet
        )
        self._bar: Progress | None = None
        self._task: Any = None

    def say(self, text: str) -> None:
        """One line.

        >>> Console().say("top-1 [bold]50 %[/bold]")  # markup is left as it is
        top-1 [bold]50 %[/bold]
        """
        self.console.print(text, markup=False)

    def start(self, title: str, *, step: int, steps: int) -> None:
        """A stage starts, or goes on from `step`."""
        self.finish()
        if self.console.is_terminal and steps > 0:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}"),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task(
                title, total=steps, completed=step, status=""
            )
            self._bar.start()

    def advance(self, step: int, status: str) -> None:
        """Moves the bar; says nothing off a terminal."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, status=status)

    def finish(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @contextmanager
    def bar(self, title: str, *, steps: int) -> Iterator[Callable[[int, str], None]]:
        """A context with a bar; is given `advance`, and removes the bar at its end.

        >>> with Console().bar("estimates", steps=2) as advance:
        ...     advance(1, "scnn")  # seen on a terminal only
        """
        self.start(title, step=0, steps=steps)
        try:
            yield self.advance
        finally:
            self.finish()
