"""The files of one run directory, read and written."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dst_jax.runs.json_files import (
    append_line,
    read_lines,
    read_object,
    sync,
    to_json,
    write_text,
)
from dst_jax.runs.lock import check_path, hold

__all__ = ["FIRST_TASK", "GIVEN", "UNTRAINED", "Run"]

FIRST_TASK: dict[str, Any] = {
    "name": "classification",
    "measure": "accuracy",
    "titles": {"top1": "top-1", "top5": "top-5"},
    "best": ("top1", "max"),
    "training": "accuracy",
}
"""The task of the first run directories, which do not record it."""
GIVEN, UNTRAINED = "given weights", "untrained start"
"""Titles of a first stage without training, whose network is given or fresh."""
_LINES = ("metrics.jsonl", "masks.jsonl", "ledger.jsonl")


class Run:
    """Reads and writes the files of one run directory.

    Only the process with `writer=True` touches the disk, so that every host of a
    multi-host job can hold the same object.

    Args:
      directory: the run directory; it need not exist.
      writer: whether anything is written.
    """

    def __init__(self, directory: str | os.PathLike[str], *, writer: bool = True):
        self.path = Path(directory).absolute()
        self.writer = writer
        self._held = False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """A context in which this object alone writes; it may be entered again.

        Raises:
          InUse: another process writes, or another object of this one; names it.
          ValueError: checkpoints could not be read back from this path.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     with run.lock(), run.lock():
        ...         print([path.name for path in run.path.iterdir()])
        ['lock.json']
        """
        if not self.writer or self._held:
            yield
            return
        check_path(self.path)
        with hold(self.path):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    @property
    def checkpoints(self) -> Path:
        """The directory of the stages' checkpoints.

        >>> Run("/runs/a").checkpoints.relative_to("/runs").as_posix()
        'a/checkpoints'
        """
        return self.path / "checkpoints"

    def write_config(self, record: Mapping[str, Any]) -> None:
        """Writes config.json.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder).write_config({"seed": 3})
        ...     print((Path(folder) / "config.json").read_text())
        {
          "seed": 3
        }
        <BLANKLINE>
        """
        self._write("config.json", record)

    def read_config(self) -> dict[str, Any] | None:
        """config.json, or None before a run has started.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     before = run.read_config()
        ...     run.write_config({"seed": 3})
        ...     before, run.read_config()
        (None, {'seed': 3})
        """
        return self._read("config.json")

    def write_stage(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes stages/NAME.json, the evaluation at the end of a stage.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder).write_stage("dense", {"top1": 0.5})
        ...     (Path(folder) / "stages" / "dense.json").exists()
        True
        """
        self._write(f"stages/{name}.json", record)

    def read_stage(self, name: str) -> dict[str, Any] | None:
        """stages/NAME.json, or None while the stage is not finished.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     run.write_stage("dense", {"top1": 0.5})
        ...     run.read_stage("dense"), run.read_stage("pruned")
        ({'top1': 0.5}, None)
        """
        return self._read(f"stages/{name}.json")

    def write_accelerators(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes accelerators/NAME.json, estimates for the end of a stage.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder).write_accelerators("dense", {"eie": {"cycles": 7}})
        ...     [path.name for path in Path(folder).glob("accelerators/*")]
        ['dense.json']
        """
        self._write(f"accelerators/{name}.json", record)

    def read_accelerators(self, name: str) -> dict[str, Any] | None:
        """accelerators/NAME.json, or None if the stage was not estimated.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     run.write_accelerators("dense", {"eie": {"cycles": 7}})
        ...     run.read_accelerators("dense"), run.read_accelerators("pruned")
        ({'eie': {'cycles': 7}}, None)
        """
        return self._read(f"accelerators/{name}.json")

    def write_thresholds(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes thresholds/NAME.json, the FATReLUs found for the end of a stage.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder).write_thresholds("dense", {"relu1": 0.25})
        ...     (Path(folder) / "thresholds" / "dense.json").exists()
        True
        """
        self._write(f"thresholds/{name}.json", record)

    def write_examples(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes examples/NAME.json, what the network at a stage's end says."""
        self._write(f"examples/{name}.json", record)

    def read_examples(self, name: str) -> dict[str, Any] | None:
        """examples/NAME.json, or None if the task's answers are no images.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder).write_examples("dense", {"examples": []})
        ...     Run(folder).read_examples("dense")
        {'examples': []}
        """
        return self._read(f"examples/{name}.json")

    def write_summary(self, record: Mapping[str, Any]) -> None:
        """Writes summary.json, the last file of a finished run.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder, writer=False).write_summary({"stages": []})
        ...     Run(folder).read_summary()
        """
        self._write("summary.json", record)

    def read_summary(self) -> dict[str, Any] | None:
        """summary.json, or None while the run is not finished: it lists the stages.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     run.write_summary({"stages": ["dense"]})
        ...     run.read_summary()
        {'stages': ['dense']}
        """
        found = self._read("summary.json")
        return found if found and "stages" in found else None

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends one line to metrics.jsonl.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     for step in (1, 2):
        ...         run.log({"kind": "train", "step": step})
        ...     print((Path(folder) / "metrics.jsonl").read_text(), end="")
        {"kind": "train", "step": 1}
        {"kind": "train", "step": 2}
        """
        self._append("metrics.jsonl", record)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a line cut short by a kill is left out.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     before = run.read_metrics()
        ...     run.log({"kind": "train", "loss": float("inf")})
        ...     before, run.read_metrics()
        ([], [{'kind': 'train', 'loss': inf}])
        """
        return self._read_lines("metrics.jsonl")

    def log_masks(self, record: Mapping[str, Any]) -> None:
        """Appends one line to masks.jsonl.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     run.log_masks({"step": 100, "layers": {}})
        ...     run.read_metrics(), run.read_masks()
        ([], [{'step': 100, 'layers': {}}])
        """
        self._append("masks.jsonl", record)

    def read_masks(self) -> list[dict[str, Any]]:
        """The lines of masks.jsonl; a line cut short by a kill is left out.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     run.log_masks({"step": 100})
        ...     with (run.path / "masks.jsonl").open("a") as file:
        ...         _ = file.write('{"step": 2')  # killed while it wrote 200
        ...     run.read_masks()
        [{'step': 100}]
        """
        return self._read_lines("masks.jsonl")

    def keep_metrics(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Rewrites the files of lines with those that `keep` holds for.

        A resumed run drops the lines past the checkpoint it starts from.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     for step in (10, 20, 30):
        ...         run.log({"step": step})
        ...     run.keep_metrics(lambda line: line["step"] <= 20)
        ...     run.read_metrics()
        [{'step': 10}, {'step': 20}]
        """
        for name in _LINES:
            if self.writer and (self.path / name).exists():
                kept = [r for r in self._read_lines(name) if keep(r)]
                text = "".join(to_json(r) + "\n" for r in kept)
                write_text(self.path / name, text)

    def sync(self) -> None:
        """Returns once the lines logged so far are on the disk.

        >>> Run("nowhere").sync()
        """
        for name in _LINES if self.writer else ():
            sync(self.path / name)

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        if self.writer:
            append_line(self.path / name, record)

    def _read_lines(self, name: str) -> list[dict[str, Any]]:
        return read_lines(self.path / name)

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        if self.writer:
            write_text(self.path / name, to_json(record, indent=2) + "\n")

    def _read(self, name: str) -> dict[str, Any] | None:
        return read_object(self.path / name)
