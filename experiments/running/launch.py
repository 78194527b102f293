"""From a command line to a finished run; reads the options before JAX is imported."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.options import Config
from experiments.options.data import with_preset
from experiments.running.command_line import parse_preset, status

if TYPE_CHECKING:
    from dst_jax.train import Stage

__all__ = ["main"]


def main(
    name: str,
    presets: Mapping[str, Config],
    *,
    doc: str,
    argv: list[str] | None = None,
) -> int:
    """Runs an experiment; returns the exit status.

    Args:
      name: name of the module, for the default run directory.
      presets: configurations by name; options on the command line override.
      doc: shown by `--help`.
      argv: the arguments; the command line's by default.

    >>> main("mnist", {"full": Config()}, doc="", argv=["--data.workers", "-1"])
    2
    """
    argv = sys.argv[1:] if argv is None else argv
    config = parse_preset(presets, argv, name=name, doc=doc)
    directory = Path(config.run.dir or f"runs/{name}-{config.preset}").absolute()
    config = replace(config, run=replace(config.run, dir=str(directory)))

    def plan() -> "tuple[Config, list[Stage], str]":
        config.check()
        data, note = with_preset(config.data, presets[config.preset].data, argv)
        fitted = replace(config, data=data)
        stages = fitted.stages()
        fitted.rehearse(stages)
        return fitted, stages, note

    def work(planned: "tuple[Config, list[Stage], str]") -> None:
        from experiments.running import training

        fitted, stages, note = planned
        training.run(name, fitted, stages, argv, note=note)

    return status(plan, work, directory=directory)
