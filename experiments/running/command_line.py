"""What every command has in common: its options, its errors, its exit status."""

import argparse
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import tyro

from experiments.options.texts import suggestion
from experiments.running import processes
from experiments.running.parser_errors import in_one_line

__all__ = ["parse", "parse_preset", "status"]

T = TypeVar("T")

_WRONG_PATH = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors of the system that another path, given by the user, would mend."""


def parse(options: type[T], argv: list[str] | None, *, name: str, doc: str | None) -> T:
    """The options on a command line.

    Args:
      options: dataclass of the options.
      argv: the arguments; the command line's if None.
      name: name of the module that is the command.
      doc: shown by `--help`.

    Raises:
      SystemExit: after `--help`, and with status 2 after an error, which is printed.

    >>> from experiments.options import DataOptions
    >>> parse(DataOptions, ["--batch-size", "8"], name="data", doc="").batch_size
    8
    """
    _refuse_processes(options, sys.argv[1:] if argv is None else argv, name)
    prog = f"python -m experiments.{name}"
    with in_one_line(sys.argv[1:] if argv is None else argv):
        return tyro.cli(options, args=argv, prog=prog, description=doc)


def parse_preset(
    presets: Mapping[str, T], argv: list[str], *, name: str, doc: str
) -> T:
    """The preset's options with those on a command line in their place.

    Args:
      presets: options by the name of the preset; one is called "full".
      argv: the arguments; `--preset NAME` among them chooses.
      name: name of the module that is the command.
      doc: shown by `--help`, which also says whose defaults it shows.

    Raises:
      SystemExit: as in `parse`; with status 2 for an unknown preset, too.

    >>> from experiments.options import DataOptions
    >>> parse_preset({"full": DataOptions(workers=2)}, [], name="data", doc="").workers
    2
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", nargs="?", default="full")
    preset = first.parse_known_args(argv)[0].preset or "full"
    if preset not in presets:
        print(
            f"error: --preset must be one of {tuple(presets)} for experiments.{name},"
            f" got {preset!r}{suggestion(preset, tuple(presets))}",
            file=sys.stderr,
        )
        raise SystemExit(2)
    default = presets[preset]
    _refuse_processes(type(default), argv, name)
    prog = f"python -m experiments.{name}"
    shown = f"{doc.rstrip()}\n\n{_defaults_shown(preset, tuple(presets))}"
    with in_one_line(argv):
        return tyro.cli(
            type(default), default=default, args=argv, prog=prog, description=shown
        )


def _defaults_shown(preset: str, presets: Sequence[str]) -> str:
    """Which preset the defaults in a help text are those of."""
    said = f"DEFAULTS BELOW\n  those of --preset {preset}"
    others = " or ".join(f"--preset {name}" for name in presets if name != preset)
    return f"{said}; for others: {others}, with --help" if others else said


def _refuse_processes(options: Any, argv: Sequence[str], name: str) -> None:
    """Refuses `--run.multihost` where a command trains nothing with it."""
    takes_it = "run" in {field.name for field in dataclasses.fields(options)}
    if not takes_it and any(text.startswith("--run.multihost") for text in argv):
        print(
            f"error: --run.multihost: experiments.{name} runs in one process; several"
            " may each do a part of the work, such as a seed of a comparison",
            file=sys.stderr,
        )
        raise SystemExit(2)


def status(
    plan: Callable[[], T],
    work: Callable[[T], None],
    *,
    directory: Path | None = None,
) -> int:
    """Plans, works, and returns the exit status; the user's errors are printed.

    Args:
      plan: checks the options before any work; its ValueError gives 2.
      work: is given the plan. What it cannot use of what it was given, such as a run
        that is not there, gives 2 too; errors of disks and of training give 1. Stopped
        by a signal, it has saved its state, and the status is 0. Ctrl-C where nothing
        is unsaved ends the process with 130.
      directory: where the same command goes on.

    >>> status(lambda: 1, print)
    1
    0
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    with _leaving_on_ctrl_c():
        try:
            planned = plan()
        except ValueError as error:
            said = str(error).replace("\n", "\\n")  # a value may have lines
            print(f"error: {said}", file=sys.stderr)
            return 2
        return _worked(work, planned, directory)


def _worked(work: Callable[[T], None], planned: T, directory: Path | None) -> int:
    from dst_jax import train  # after the options are checked: it imports JAX

    try:
        work(planned)
    except train.Interrupted as error:
        print(f"{error}; the same command continues: {directory}")
        return 0
    except Exception as error:
        processes.leave_if_lost(error)
        processes.leave_soon()
        if isinstance(error, (ValueError, *_WRONG_PATH)):
            print(f"error: {error}", file=sys.stderr)
            return 2
        if not isinstance(error, (OSError, train.NonFiniteLoss)):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _leaving_on_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once, in place of raising KeyboardInterrupt.

    An exception could be raised inside a callback of JAX, which swallows it. Nothing is
    lost: every file is replaced whole, and training has a handler of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    os.write(2, b"\ninterrupted; the same command continues from what is saved\n")
    os._exit(130)
