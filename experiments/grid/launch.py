"""From a command line to a comparison and its report."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.grid.options import GridOptions
from experiments.running.command_line import parse_preset, status

if TYPE_CHECKING:
    from experiments.grid.engine import Comparison

__all__ = ["main"]


def main(
    name: str,
    presets: Mapping[str, GridOptions],
    *,
    doc: str,
    argv: list[str] | None = None,
) -> int:
    """Runs or continues a comparison; returns the exit status.

    Args:
      name: name of the module, for the default directory.
      presets: options by name; those on the command line override.
      doc: shown by `--help`.
      argv: the arguments; the command line's by default.

    >>> from experiments.grid.methods.options import MethodGrid
    >>> main("methods", {"full": MethodGrid()}, doc="", argv=["--seeds", "1", "1"])
    2
    """
    argv = sys.argv[1:] if argv is None else argv
    options = parse_preset(presets, argv, name=name, doc=doc)
    directory = Path(options.dir or f"runs/{name}-{options.preset}").absolute()
    command = f"python -m experiments.{name} {shlex.join(argv)}".strip()

    def plan() -> "Comparison":
        options.check()
        comparison = options.comparison()
        distinct = {cell.optimizer: cell for cell in comparison.cells}
        options.base().rehearse(list(distinct.values()))
        return comparison

    def work(comparison: "Comparison") -> None:
        from experiments.grid import engine

        engine.run(options, comparison, directory, command=command)

    return status(plan, work, directory=directory)
