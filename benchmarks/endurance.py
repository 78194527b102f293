"""What a run survives: kills, flipped bits, zeroed blocks and full disks.

COMMAND
  python -m benchmarks.endurance --kills 200 --flips 200 --zeroed 100 --disk-full 20

A small MLP on digits is trained through all stages, once without harm. Then:
  kills      a process of its own is killed (SIGKILL) at a random moment and started
             again, until the run is finished: equal bits, no checkpoint set aside.
  flips      one bit of a file of the newest checkpoint is flipped, the files in turn:
             noticed before use, the checkpoint before it used, equal bits at the end.
  zeroed     likewise, a block of 4 KiB filled with zeros.
  disk full  a disk (tmpfs, where it can be mounted; else a limit on the sizes of files)
             too small for the run: one error line and no traceback; once there is room,
             the same command ends with equal bits.
Kills and full disks are whole processes; flips and zeroed blocks train in this one.
Every outcome is a line of DIR/outcomes.jsonl: the same command goes on where it was.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dst_jax import runs, train
from dst_jax.runs import Run
from dst_jax.train.integrity import numbered
from dst_jax.train.stage_order import directory_of
from experiments.mnist_lenet5 import PRESETS
from experiments.running.command_line import parse_preset
from experiments.running.config_record import nested

OPTIONS = (
    *("--data.name", "digits", "--model.name", "mlp", "--data.eval-batch-size", "120"),
    *("--pretrain.epochs", "2", "--prune.induce-epochs", "1"),
    *("--prune.finetune-epochs", "2", "--activation.epochs", "2", "--run.no-control"),
    *("--run.stages", "pretrain", "sparsify_weights", "sparsify_activations"),
    *("--run.save-every", "3", "--run.log-every", "2"),
)
BLOCK = 4096
ROOM = "64m"
"""Size of the disk once there is room."""


class Bench:
    """The outcomes so far, and the run that was not harmed.

    Args:
      directory: where everything is written.
      seed: seed of all random choices.
    """

    def __init__(self, directory: Path, seed: int):
        self.directory = directory.absolute()
        self.seed = seed
        self.path = self.directory / "outcomes.jsonl"
        self.outcomes = runs.read_lines(self.path)
        self.whole = self.directory / "whole"
        if Run(self.whole).read_summary() is None:
            self._train_whole()
        self.seconds = self.of("whole")[0]["seconds"]
        self.bits = bits(self.whole)

    def _train_whole(self) -> None:
        """Trains the run that is not harmed: once to compile, once to take its time."""
        for directory in (self.directory / "warm", self.whole):
            start = time.perf_counter()
            done = self.run(directory)
            assert done.returncode == 0, done.stderr
        shutil.rmtree(self.directory / "warm")
        self.add("whole", 0, seconds=time.perf_counter() - start)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The outcomes of one kind."""
        return [x for x in self.outcomes if x["kind"] == kind]

    def add(self, kind: str, number: int, **found: Any) -> None:
        """Records an outcome."""
        record = {"kind": kind, "number": number, **found}
        runs.append_line(self.path, record)
        self.outcomes.append(record)

    def random(self, kind: str, number: int) -> random.Random:
        """The random choices of one trial, the same whichever others are made."""
        return random.Random(f"{self.seed} {kind} {number}")

    def command(self, directory: Path) -> list[str]:
        """The command that trains the run."""
        module = [sys.executable, "-m", "experiments.mnist_lenet5"]
        cache = ("--run.compilation-cache", str(self.directory / "compiled"))
        return [*module, *OPTIONS, *cache, "--run.dir", str(directory)]

    def run(
        self, directory: Path, before: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The finished command."""
        return subprocess.run(
            self.command(directory), capture_output=True, text=True, preexec_fn=before
        )


def bits(directory: Path) -> str | None:
    """The digest of a finished run's parameters."""
    return (Run(directory).read_summary() or {}).get("params_sha256")


def set_aside(directory: Path) -> int:
    """The number of checkpoints that a run has set aside."""
    return len(list((directory / "checkpoints").glob("*/*.damaged*")))


def kill(bench: Bench, wanted: int) -> None:
    """Kills processes of runs until as many are killed as wanted, and ends the last."""
    killed = bench.of("kill")
    while len(killed) < wanted or bits(bench.directory / f"killed{_runs(bench)}"):
        directory = bench.directory / f"killed{_runs(bench)}"
        number = len(killed) if len(killed) < wanted else None
        if not _killed(bench, directory, number):
            bench.add(
                "killed run",
                _runs(bench),
                equal=bits(directory) == bench.bits,
                set_aside=set_aside(directory),
            )
            shutil.rmtree(directory)
            if number is None:
                return
        killed = bench.of("kill")


def _runs(bench: Bench) -> int:
    return len(bench.of("killed run"))


def _killed(bench: Bench, directory: Path, number: int | None) -> bool:
    """Whether a process was killed before it finished."""
    process = subprocess.Popen(
        bench.command(directory), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    moment = None
    if number is not None:
        # Another moment after a run that ended before it.
        choice = bench.random(f"kill after {_runs(bench)} runs", number)
        moment = choice.uniform(0, bench.seconds)
    try:
        said = process.communicate(timeout=moment)[1].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        bench.add("kill", number or 0, seconds=moment, set_aside=set_aside(directory))
        return True
    assert process.returncode == 0, said
    return False


class Said(train.Console):
    """A console that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def damage(bench: Bench, kind: str, wanted: int, harm: Callable[..., None]) -> None:
    """Harms the newest checkpoint of copies of the run, and trains them to the end."""
    config = parse_preset(PRESETS, list(OPTIONS), name="endurance", doc="")
    context = config.context(Run(bench.whole, writer=False), train.Console(quiet=True))
    for number in range(len(bench.of(kind)), wanted):
        start = time.perf_counter()
        copy = bench.directory / kind
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(bench.whole, copy)
        newest = numbered(directory_of(Run(copy)))[0]
        files = sorted(path for path in newest.rglob("*") if path.is_file())
        file = files[number % len(files)]
        harm(file, bench.random(kind, number))
        said = Said()
        own = replace(context, run=Run(copy), console=said)
        summary = train.train(own, config.stages(), config=nested(config))
        named = [x for x in said.lines if str(newest) in x and "one before" in x]
        bench.add(
            kind,
            number,
            file=str(file.relative_to(newest)),
            noticed=bool(named),
            set_aside=set_aside(copy),
            equal=summary["params_sha256"] == bench.bits,
            seconds=time.perf_counter() - start,
        )
        shutil.rmtree(copy)


def flip(file: Path, choice: random.Random) -> None:
    """Flips one bit of a file."""
    content = bytearray(file.read_bytes())
    content[choice.randrange(len(content))] ^= 1 << choice.randrange(8)
    file.write_bytes(content)


def zero(file: Path, choice: random.Random) -> None:
    """Fills a block of a file with zeros; one that held something else."""
    content = file.read_bytes()
    blocks = [
        start
        for start in range(0, len(content), BLOCK)
        if any(content[start : start + BLOCK])
    ]
    start = choice.choice(blocks)
    size = len(content[start : start + BLOCK])
    file.write_bytes(content[:start] + bytes(size) + content[start + size :])


def fill(bench: Bench, wanted: int) -> None:
    """Runs on disks that are too small, then gives them room."""
    files = [path for path in bench.whole.rglob("*") if path.is_file()]
    total, largest = sum(f.stat().st_size for f in files), max(map(_size, files))
    for number in range(len(bench.of("disk full")), wanted):
        share = (number + 0.5) / wanted
        directory = bench.directory / "disk"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        with small_disk(directory, int(share * total)) as more:
            limit = None if more else int(share * largest)
            before = None if limit is None else _limited(limit)
            first = bench.run(directory / "run", before)
            if more:
                more()
            second = bench.run(directory / "run")
            said = first.stderr.splitlines()
            errors = [x for x in said if x.startswith("error: ")]
            bench.add(
                "disk full",
                number,
                bytes=limit or int(share * total),
                how="tmpfs" if more else "RLIMIT_FSIZE",
                status=first.returncode,
                error=errors[-1] if errors else first.stderr[-300:],
                one_line=first.returncode > 0 and len(said) == 1,
                said=said if len(said) > 1 else [],
                equal=bits(directory / "run") == bench.bits,
                set_aside=set_aside(directory / "run"),
                again=second.returncode,
            )


def _size(path: Path) -> int:
    return path.stat().st_size


def _limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Callable[[], object] | None]:
    """A file system of that size, and what gives it room; None without one."""

    def mount(*options: str) -> bool:
        command = ["mount", *options, str(directory)]
        return not subprocess.run(command, capture_output=True).returncode

    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield None
        return
    try:
        yield lambda: mount("-o", f"remount,size={ROOM}")
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def table(bench: Bench) -> str:
    """The outcomes as a table of Markdown."""
    rows = [
        "| what | tried | noticed | set aside | bits equal |",
        "|---|---|---|---|---|",
    ]
    killed = bench.of("killed run")
    aside = sum(x["set_aside"] for x in killed)
    equal = f"{sum(x['equal'] for x in killed)} of {len(killed)} runs"
    rows.append(f"| SIGKILL | {len(bench.of('kill'))} | | {aside} | {equal} |")
    for kind, noticed in (
        ("flip", "noticed"),
        ("zeroed", "noticed"),
        ("disk full", "one_line"),
    ):
        found = bench.of(kind)
        columns = (
            len(found),
            *(sum(x[c] for x in found) for c in (noticed, "set_aside", "equal")),
        )
        rows.append(f"| {kind} | {' | '.join(map(str, columns))} |")
    return "\n".join(rows)


def main() -> None:
    """Runs what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("kills", "flips", "zeroed", "disk-full", "seed"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--dir", type=Path, default=Path("runs/endurance"))
    options = parser.parse_args()
    bench = Bench(options.dir, options.seed)
    damage(bench, "flip", options.flips, flip)
    damage(bench, "zeroed", options.zeroed, zero)
    fill(bench, options.disk_full)
    kill(bench, options.kills)
    print(f"the run takes {bench.seconds:.1f} s\n\n{table(bench)}")


if __name__ == "__main__":
    main()
