"""What every command of an experiment has in common: options, errors, exit status."""

import argparse
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import tyro

from dst_jax import train
from dst_jax.runs import Run
from experiments.config import ANYWHERE, differences

__all__ = ["parse", "refuse_another", "status"]

T = TypeVar("T")


def parse(presets: Mapping[str, T], argv: list[str], *, prog: str, doc: str) -> T:
    """The preset's configuration with the command line's overrides."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="full")
    preset = first.parse_known_args(argv)[0].preset
    default = presets.get(preset, presets["full"])  # tyro refuses an unknown preset
    return tyro.cli(
        type(default), default=default, args=argv, prog=prog, description=doc
    )


def status(plan: Callable[[], T], work: Callable[[T], None], directory: Path) -> int:
    """Plans, works, and returns the exit status; errors of the user's are told.

    Args:
      plan: checks the options, before any work is lost; a ValueError of it is 2.
      work: is given the plan; its errors of input, files or training are 1. Stopped by
        a signal, it has saved its state, and the status is 0.
      directory: where the same command goes on.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        planned = plan()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        work(planned)
    except train.Interrupted as error:
        print(f"{error}; the same command continues: {directory}")
    except (ValueError, OSError, train.NonFiniteLoss) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def refuse_another(
    options: object, run: Run, *, free: Collection[str] = ANYWHERE
) -> bool:
    """Whether the directory holds this work already; other work in it is refused.

    Args:
      options: of the command.
      run: the directory.
      free: dotted names of options that may differ.

    Raises:
      ValueError: what has been configured there is another run; names the differences.
    """
    earlier = run.read_config()
    if earlier is None:
        return False
    changed = differences(options, earlier["config"], free=free)
    if changed:
        raise ValueError(
            f"{run.path} holds other work: {'; '.join(changed)}. Give another"
            " directory, or the same options to continue"
        )
    return True
