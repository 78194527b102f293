"""What a run says while it runs: a live line on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["Events", "Narrator"]


class Narrator:
    """Prints a line per event; on a terminal, also a bar for the current stage."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False):
        self.console = console or Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._bar: Progress | None = None
        self._task: Any = None

    def say(self, text: str) -> None:
        """One line."""
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
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Events:
    """TensorBoard events, where the extra `tensorboard` is installed."""

    def __init__(self, directory: str, *, enabled: bool = True):
        self._writer: Any = None
        if enabled:
            try:
                from tensorboardX import SummaryWriter  # pyright: ignore
            except ImportError:
                return
            self._writer = SummaryWriter(directory)

    def scalars(self, prefix: str, values: Mapping[str, Any], step: int) -> None:
        """Writes every number of `values` under `prefix/name`."""
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def close(self) -> None:
        """Writes what is pending."""
        if self._writer is not None:
            self._writer.close()
