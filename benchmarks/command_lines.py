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
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

from experiments import accelerators, background, export, thresholds
from experiments.grid import launch as grid_launch
from experiments.running import command_line, launch

__all__ = ["VALUES", "command_lines", "fields_of", "planned"]

VALUES = (
    *("", " ", "  x", "-", "--", "=", "==", "a=", "=a", "a=b=c", "0", "1", "-1", "-0"),
    *("0.5", "-0.5", "1.5", "1e-9", "1e308", "-1e308", "1e-308", "1e400", "nan", "inf"),
    *("-inf", "None", "none", "True", "false", "2147483648", "4294967296", "1_000"),
    *(
        "18446744073709551616",
        "0x10",
        "1e3",
        "1,2",
        "1:2",
        "2:4",
        "50%",
        "150%",
        "nan%",
    ),
    *("0.5ep", "1e30ep", "-1ep", "infep", "None=1", "(", "[", "*", "(?P<a", "(=true"),
    *("conv=true", ".*=1", "relu1=nan", "relu1=inf", "relu1=-1", "a=1e308", "gamma=0"),
    *("interval=0", "interval=1e30ep", "end=200%", "interval=99999999999", "end=nan"),
    *("drop_fraction=2", "drop_fraction=-1", "structure=4:2", "structure=0:0"),
    *("structure=2:x", "hidden=-1", "hidden=2.5", "depth=1e9", "width=nan", "bn_eps=0"),
    *(
        "a:b",
        "math:pi",
        "math:",
        ":x",
        "json.:x",
        "os.path:join",
        "../..",
        "/",
        "~",
        ".",
    ),
    *(
        "/dev/null",
        "/dev/null/x",
        "x" * 300,
        "x/" * 3000,
        "9" * 5000,
        "é",
        "日本",
        "😀",
    ),
    *(
        "\udcff",
        "a\nb",
        "a\tb",
        "a b",
        "'",
        '"',
        "\\",
        "%s",
        "{}",
        "$HOME",
        "l1",
        "rigl",
    ),
    *(
        "l1 strength=1",
        "l1 strength=nan",
        "l1 strength=",
        "rigl interval=0",
        "mcp gamma=0",
    ),
)
"""Values of every kind: of other types, out of range, of no sense."""

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
    """Endless command lines, each with an odd value of one option or of two."""
    rng = random.Random(seed)
    options = [
        (command, name)
        for command in (*_TRAINED, *_COMPARED, *_FINISHED)
        for name in _names(command)
    ]
    for i in itertools.count():
        if i % len(options) == 0:
            rng.shuffle(options)
        command, name = options[i % len(options)]
        argv = [name, rng.choice(VALUES)]
        if name.endswith("method-options"):
            argv += ["--prune.method", rng.choice(["rigl", "set", "gap", "sr_ste"])]
        yield Line(command, (*_first(command), *argv))


def planned(line: Line) -> tuple[int | str, str]:
    """The status of a command line without its work, or "ok", and what it says."""
    said = io.StringIO()

    def plan_alone(plan: Any, work: Any, **others: Any) -> int:
        return command_line.status(plan, lambda _: None, **others)

    modules = [launch, grid_launch, *_FINISHED.values()]
    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.enter_context(mock.patch.object(module, "status", plan_alone))
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            status = _main(line)
        except SystemExit as ended:
            status = ended.code
    return ("ok" if status == 0 else status or 0), said.getvalue()


def _main(line: Line) -> int:
    argv = list(line.argv)
    if line.command in _FINISHED:
        return _FINISHED[line.command].main(argv)
    presets = importlib.import_module(f"experiments.{line.command}").PRESETS
    main = grid_launch.main if line.command in _COMPARED else launch.main
    return main(line.command, presets, doc="", argv=argv)


def _names(command: str) -> list[str]:
    if command in _FINISHED:
        options = _FINISHED[command].Options
        fields = dataclasses.fields(options)
        names = [f"--{field.name}".replace("_", "-") for field in fields]
        return [n for n in names if n not in ("--run-dir", "--directory")]
    presets = importlib.import_module(f"experiments.{command}").PRESETS
    return [name for name, _ in fields_of(presets["full"])]


def _first(command: str) -> list[str]:
    """What every line of a command begins with."""
    return ["nowhere"] if command in _FINISHED else []


def _refused(status: int | str, said: str) -> bool:
    lines = said.strip().splitlines()
    return status == 2 and len(lines) == 1 and lines[0].startswith("error: ")


def _processes(lines: Sequence[Line]) -> list[tuple[Line, int, str]]:
    """The lines that end in another way than they should."""
    wrong = []
    for line in lines:
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                "TFDS_DATA_DIR": folder,
                "PYTHONPATH": os.getcwd(),
            }
            argv = [sys.executable, "-m", f"experiments.{line.command}", *line.argv]
            found = subprocess.run(
                [a.encode("utf-8", "surrogateescape") for a in argv],
                cwd=folder, env=environment, capture_output=True, check=False,
            )  # fmt: skip
        said = found.stderr.decode(errors="replace")
        if not _refused(found.returncode, said):
            wrong.append((line, found.returncode, said))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lines = list(itertools.islice(command_lines(given.seed), given.lines))
    wrong, valid = [], 0
    for line in lines:
        try:
            status, said = planned(line)
        except Exception as error:  # what a user would see as a traceback
            status, said = "traceback", repr(error)
        valid += status == "ok" and not said
        if not _refused(status, said) and not (status == "ok" and not said):
            wrong.append((line, status, said))
    print(
        f"{len(lines)} lines: {valid} valid, {len(lines) - valid - len(wrong)} refused"
    )
    run = itertools.islice(command_lines(given.seed + 1), given.processes)
    wrong += _processes(list(run))
    for line, status, said in wrong:
        print(f"WRONG {line.command} {line.argv!r:.200}: {status} {said:.600}")
    print(f"{given.processes} processes; {len(wrong)} wrong in all")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
