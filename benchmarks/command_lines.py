"""Odd values for every option of every command: what is refused, and how.

COMMAND
  python -m benchmarks.command_lines --lines 4000 --processes 100

A command line must be refused with one line `error: ...` and status 2, or its options
must be found valid; nothing else is written to standard error. Lines are read and their
options checked in this process, without the command's work. Processes run whole
commands where no data set is prepared, so each ends with an error.
"""

import argparse
import contextlib
import dataclasses
import importlib
import io
import itertools
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from dst_jax import models, penalties, pruning
from experiments import accelerators, background, export, thresholds
from experiments.grid import launch as grid_launch
from experiments.running import command_line, launch

__all__ = ["NUMBERS", "WORDS", "Line", "command_lines", "fields_of", "planned", "wrong"]

NUMBERS = [
    *("0", "1", "-1", "-0", "2", "0.5", "-0.5", "1.5", "1e-9", "1e308", "-1e308"),
    *("1e-308", "1e400", "nan", "inf", "-inf", "1e3", "1_000", "0x10", "2147483647"),
    *("2147483648", "4294967295", "4294967296", "18446744073709551616", "1,2", "50%"),
    *("150%", "nan%", "0.5ep", "1e30ep", "-1ep", "infep", "2:4", "4:2", "0:0", "1x1"),
    *("None", "true"),
]
"""Numbers of every kind, in and out of range, and what looks like one."""

WORDS = [
    *("", " ", "  x", "-", "--", "=", "a=", "=a", "a=b=c", "(", "[", "*", "(?P<a"),
    *("(=true", "conv=true", ".*=1", "relu1=nan", "relu1=inf", "relu1=-1", "(=1"),
    *("a:b", "math:pi", "math:", ":x", "json.:x", "os.path:join", "../..", "/", "~"),
    *(
        "/dev/null",
        "/dev/null/x",
        "x" * 300,
        "x/" * 3000,
        "9" * 5000,
        "é",
        "日本",
        "\t",
    ),
    *("\udcff", "a\nb", "a b", "'", '"', "\\", "%s", "{}", "$HOME", "None", "False"),
    *("l1 strength=1", "l1 strength=nan", "l1 strength=", "mcp strength=1 gamma=0"),
    *("rigl", "rigl interval=0", "rigl end=nan", "set interval=1e30ep", "gap steps=-1"),
]
"""Texts of every kind: of other types, of no sense, paths that are not there."""

_TRAINED = ("imagenet_resnet18", "mnist_lenet5", "cifar100_resnet18", "evaluate")
_COMPARED = ("compare_penalties", "sparse_training")
_FINISHED = {
    "accelerators": accelerators,
    "background": background,
    "export": export,
    "thresholds": thresholds,
}


class Line(NamedTuple):
    """A command line, and the option with the odd value."""

    command: str
    argv: tuple[str, ...]


def fields_of(
    options: Any, prefix: str = ""
) -> Iterator[tuple[str, dataclasses.Field]]:
    """Every option of a dataclass, with its name on the command line."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name, None)
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{prefix}{field.name}.")
        else:
            name = "from" if field.name == "path" else field.name
            yield f"--{prefix}{name}".replace("_", "-"), field


def command_lines(seed: int) -> Iterator[Line]:
    """Endless command lines, each with an odd value of one option.

    Every other one is an option NAME=VALUE of a method, a network or a penalty.
    """
    rng = random.Random(seed)
    plain, named = _shuffled(rng, _plain()), _shuffled(rng, _named())
    while True:
        command, first = next(plain)
        yield Line(command, (*first, rng.choice([*NUMBERS, *WORDS])))
        command, first = next(named)
        *first, name = first
        yield Line(command, (*first, f"{name}={rng.choice([*NUMBERS, *WORDS])}"))


def planned(line: Line) -> tuple[int | str | None, str]:
    """The status of a command line without its work, and what is written as errors."""
    said = io.StringIO()

    def plan_alone(plan: Callable, work: Callable, **others: Any) -> int:
        return command_line.status(plan, lambda _: None, **others)

    with contextlib.ExitStack() as stack:
        for module in (launch, grid_launch, *_FINISHED.values()):
            stack.enter_context(mock.patch.object(module, "status", plan_alone))
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            status = _main(line)
        except SystemExit as ended:
            status = ended.code
    return status, said.getvalue()


def wrong(status: int | str | None, said: str, *, valid: bool = True) -> bool:
    """Whether a command line ended in another way than it should.

    Args:
      status: its exit status.
      said: what it wrote as errors.
      valid: whether it may have been accepted.
    """
    lines = said.strip().splitlines()
    refused = status == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    return not refused and not (valid and status == 0 and not lines)


def _plain() -> list[Line]:
    lines = []
    for command in (*_TRAINED, *_COMPARED):
        options = importlib.import_module(f"experiments.{command}").PRESETS["full"]
        lines += [Line(command, (name,)) for name, _ in fields_of(options)]
    for command, module in _FINISHED.items():
        fields = dataclasses.fields(module.Options)
        lines += [
            Line(command, ("nowhere", f"--{field.name}".replace("_", "-")))
            for field in fields
            if field.default is not dataclasses.MISSING
        ]
    return lines


def _named() -> list[Line]:
    """Names of options whose value is in the same text, behind what they are of."""
    found = []
    for method in pruning.names():
        first = ("--prune.sparsity", "None") if method == "auto_sparse" else ()
        for name in pruning.describe(method).options:
            found.append(
                (*first, "--prune.method", method, "--prune.method-options", name)
            )
    for model in models.names():
        for name in models.options(model):
            found.append(("--model.name", model, "--model.options", name))
    for penalty in penalties.names():
        for name in ("a", "gamma", "p", "eps", "lam", "theta", "alpha"):
            found.append(
                ("--activation.penalty", penalty, "--activation.options", name)
            )
    found += [("--task.options", name) for name in ("label_smoothing", "top")]
    return [Line("mnist_lenet5", argv) for argv in found]


def _shuffled(rng: random.Random, lines: list[Line]) -> Iterator[Line]:
    """The lines again and again, each time in another order."""
    while True:
        rng.shuffle(lines)
        yield from lines


def _main(line: Line) -> int:
    argv = list(line.argv)
    if line.command in _FINISHED:
        return _FINISHED[line.command].main(argv)
    presets = importlib.import_module(f"experiments.{line.command}").PRESETS
    main = grid_launch.main if line.command in _COMPARED else launch.main
    return main(line.command, presets, doc="", argv=argv)


def _process(line: Line) -> tuple[int, str]:
    """The status of a command in a process of its own, and what it writes as errors."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {"TFDS_DATA_DIR": folder, "PYTHONPATH": os.getcwd()}
        argv = [sys.executable, "-m", f"experiments.{line.command}", *line.argv]
        found = subprocess.run(
            [text.encode("utf-8", "surrogateescape") for text in argv],
            cwd=folder,
            env={**os.environ, **paths},
            capture_output=True,
            check=False,
        )
    return found.returncode, found.stderr.decode(errors="replace")


def main() -> int:
    """Tries the lines, prints those that end wrongly; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    bad, valid = 0, 0
    lines = command_lines(given.seed)
    for i, line in enumerate(itertools.islice(lines, given.lines + given.processes)):
        alone = i < given.lines
        try:
            status, said = planned(line) if alone else _process(line)
        except Exception as error:  # what a user would see as a traceback
            status, said = "traceback", repr(error)
        valid += alone and status == 0
        if wrong(status, said, valid=alone):
            bad += 1
            print(f"WRONG {line.command} {line.argv!r:.300}: {status} {said:.600}")
    print(
        f"{given.lines} lines, of which {valid} are valid, and {given.processes}"
        f" processes: {bad} ended wrongly"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
