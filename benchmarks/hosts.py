"""Several processes: signals to them, and the run continued by other numbers of them.

COMMAND
  python -m benchmarks.hosts               two idle CPU cores: about 10 minutes

A small MLP goes through all stages on four devices, shared by two processes of this
computer that talk over localhost. One or both get a signal; the run is then continued
by one, two and four processes, on four devices each time. Prints, for every case:
- the exit statuses, the seconds until the last process ended, the lines it ended with;
- whether all processes saved the same step;
- whether the continued runs end with the bits of a run that was never stopped.

All runs use Gloo between devices, also a single process: it adds in an order that
depends on the number of devices alone.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

DEVICES = 4
_WIDTH = 120
RUN = (
    *("--preset", "demo", "--model.name", "mlp", "--data.batch-size", "64"),
    *("--data.eval-batch-size", "120", "--pretrain.epochs", "3"),
    *("--prune.induce-epochs", "2", "--prune.finetune-epochs", "2"),
    *("--activation.epochs", "2", "--run.no-control", "--run.log-every", "1"),
    *("--run.stages", "pretrain", "sparsify_weights", "sparsify_activations"),
    *("--run.accelerators", "dense"),
)


@dataclass(frozen=True)
class Case:
    """A signal, the processes that get it, and the lines of metrics before it."""

    name: str
    number: signal.Signals
    victims: tuple[int, ...]
    lines: int = 20


CASES = (
    Case("SIGTERM to the first", signal.SIGTERM, (0,)),
    Case("SIGTERM to the second", signal.SIGTERM, (1,), 70),
    Case("SIGTERM to both", signal.SIGTERM, (0, 1), 110),
    Case("SIGKILL of the first", signal.SIGKILL, (0,), 60),
    Case("SIGKILL of the second", signal.SIGKILL, (1,)),
)


@dataclass(frozen=True)
class Job:
    """The processes of a run."""

    processes: list[subprocess.Popen[str]]

    def end(self) -> list[str]:
        """What every process said, once all have ended."""
        return [process.communicate(timeout=600)[0] for process in self.processes]

    @property
    def statuses(self) -> list[int]:
        """The exit statuses."""
        return [process.returncode for process in self.processes]


def main(counts: tuple[int, ...] = (1, 2, 4), cases: tuple[int, ...] = ()) -> None:
    """Prints the tables.

    Args:
      counts: numbers of processes that continue a run.
      cases: numbers of the cases to run, from 0; all if empty.
    """
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
        scratch = Path(folder)
        whole = {n: _whole(scratch, n) for n in counts}
        _show_whole(whole)
        table = Table(title="Stopped with 2 processes", title_justify="left")
        headings = ("statuses", "s to end", "saved", "said", "continued by: bits")
        for heading in ("signal", *headings):
            table.add_column(heading)
        for case in [CASES[i] for i in cases] or CASES:
            row = _stopped(scratch, case, whole)
            table.add_row(case.name, *row)
            print(f"{case.name}: {' | '.join(row)}".replace("\n", ", "), flush=True)
        Console(width=_WIDTH).print(table)


def _whole(scratch: Path, count: int) -> str:
    directory = scratch / f"whole-{count}"
    job = _start(directory, count)
    said = job.end()
    if any(job.statuses):
        raise SystemExit("\n".join(said))
    return _hash(directory)


def _show_whole(whole: dict[int, str]) -> None:
    table = Table(title="Never stopped", title_justify="left")
    for heading in ("processes x devices", "parameters"):
        table.add_column(heading)
    for n, digest in whole.items():
        table.add_row(f"{n} x {DEVICES // n}", digest[:16])
    Console(width=_WIDTH).print(table)


def _stopped(scratch: Path, case: Case, whole: dict[int, str]) -> tuple[str, ...]:
    directory = scratch / case.name.replace(" ", "-")
    job = _start(directory, 2)
    while _lines(directory) < case.lines:
        if all(process.poll() is not None for process in job.processes):
            raise SystemExit("\n".join(job.end()))
        time.sleep(0.01)
    for i in case.victims:
        job.processes[i].send_signal(case.number)
    start = time.monotonic()
    said = job.end()
    seconds = time.monotonic() - start
    left = [i for i in range(2) if i not in case.victims or case.number != 9]
    return (
        " ".join(map(str, job.statuses)),
        f"{seconds:.1f}",
        _saved(directory),
        "\n".join(dict.fromkeys(_last(said[i]) for i in left)),
        "\n".join(_continued(directory, n, whole) for n in whole),
    )


def _continued(directory: Path, count: int, whole: dict[int, str]) -> str:
    copy = directory.with_name(f"{directory.name}-{count}")
    shutil.copytree(directory, copy)
    job = _start(copy, count)
    said = job.end()
    if any(job.statuses):
        return f"{count}: {job.statuses} {_last(said[0])}"
    return f"{count}: {'the same' if _hash(copy) == whole[count] else 'OTHERS'}"


def _start(directory: Path, count: int) -> Job:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = f"--xla_force_host_platform_device_count={DEVICES // count}"
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(directory.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    command = [sys.executable, "-m", "experiments.mnist_lenet5", *RUN]
    command += ["--run.dir", str(directory), "--run.multihost"]
    command += ["--run.coordinator", address, "--run.processes", str(count)]
    return Job(
        [
            subprocess.Popen(
                [*command, "--run.process-id", str(i)],
                env={**os.environ, **cache, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for i in range(count)
        ]
    )


def _lines(directory: Path) -> int:
    path = directory / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _hash(directory: Path) -> str:
    return json.loads((directory / "summary.json").read_text())["params_sha256"]


def _saved(directory: Path) -> str:
    """The newest checkpoint."""
    found = [p for p in directory.glob("checkpoints/*/*") if p.name.isdigit()]
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return "none" if newest is None else f"{newest.parent.name} {newest.name}"


def _last(said: str) -> str:
    """The last line that a process printed, without the directory."""
    lines = said.strip().splitlines()
    return lines[-1].partition("; the same command")[0][:120] if lines else ""


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.hosts", description=__doc__)
