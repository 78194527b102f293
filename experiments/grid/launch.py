"""From a command line to a comparison and its report."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.grid.options import GridOptions
from experiments.options.data import with_preset
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

    def plan() -> "tuple[GridOptions, Comparison, str]":
        options.check()
        data, note = with_preset(options.data, presets[options.preset].data, argv)
        fitted = replace(options, data=data)
        comparison = fitted.comparison()
        distinct = {cell.optimizer: cell for cell in comparison.cells}
        fitted.base().rehearse(list(distinct.values()))
        return fitted, comparison, note

    def work(planned: "tuple[GridOptions, Comparison, str]") -> None:
        from experiments.grid import engine

        fitted, comparison, note = planned
        engine.run(fitted, comparison, directory, command=command, note=note)

    return status(plan, work, directory=directory)
