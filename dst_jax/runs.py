"""A run directory on disk: train writes it, report reads it.

    RUN_DIR/
      config.json             config (nested), seed, command, versions, git, machine;
                              what is planned: stages, titles, task, model
      metrics.jsonl           one JSON object per line: {"kind": ..., "stage": ..., ...}
      masks.jsonl             likewise, where a method of sparse training chose masks
      stages/NAME.json        what the evaluation at the end of one stage found
      accelerators/NAME.json  what modelled accelerators make of it, if asked for
      thresholds/NAME.json    the FATReLUs found for it, if asked for
      summary.json            config, stages in order, params_sha256
      checkpoints/STAGE/      Orbax
      report.html, figures/

Lines of metrics.jsonl carry `kind`: "train" (a log interval: step, epoch, loss,
penalty terms, images_per_second, waiting) or "eval" (an epoch's end on the
hold-out: step, epoch, the task's metrics, activation_sparsity, weight_sparsity).
`step` counts from the stage's start, `epoch` is a float. Lines of masks.jsonl carry
`stage`, `phase`, `step`, `epoch` and `layers`: by layer, what `pruning.statistics`
says.

config.json and stages/NAME.json hold the task's `name`, the `titles` of its metrics,
the `best` one as [metric, "max" or "min"] and the `shares` among them, which are shown
in percent (`task`). config.json holds the original network (`model`): its `name` as
`module:attribute`, its `options` and the `shapes` of its variables by path. A stage
may hand on a smaller one: stages/NAME.json holds the `shapes` at its end and the
`plans` of removal, in order and in coordinates of the original (`network`), from which
the smaller network is made again. There are none until something is removed.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["FIRST_TASK", "Run", "read_lines"]

FIRST_TASK: dict[str, Any] = {
    "name": "classification",
    "measure": "accuracy",
    "titles": {"top1": "top-1", "top5": "top-5"},
    "best": ("top1", "max"),
    "training": "accuracy",
}
"""The task of the first run directories, which do not record it."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; a line cut short by a kill is left out.

    Args:
      path: the file; without it there are no records.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "metrics.jsonl"
    ...     _ = path.write_text('{"step": 1}\\n{"st')
    ...     read_lines(path)
    [{'step': 1}]
    """
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


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
        ...     json.loads((Path(folder) / "thresholds" / "dense.json").read_text())
        {'relu1': 0.25}
        """
        self._write(f"thresholds/{name}.json", record)

    def write_summary(self, record: Mapping[str, Any]) -> None:
        """Writes summary.json, the last file of a finished run.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Run(folder, writer=False).write_summary({"stages": []})
        ...     Run(folder).read_summary()
        """
        self._write("summary.json", record)

    def read_summary(self) -> dict[str, Any] | None:
        """summary.json, or None while the run is not finished.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run(folder)
        ...     run.write_summary({"stages": ["dense"]})
        ...     run.read_summary()
        {'stages': ['dense']}
        """
        return self._read("summary.json")

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
        """Rewrites metrics.jsonl and masks.jsonl with the lines that `keep` holds for.

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
        for name in ("metrics.jsonl", "masks.jsonl"):
            if self.writer and (self.path / name).exists():
                lines = [
                    json.dumps(r) + "\n" for r in self._read_lines(name) if keep(r)
                ]
                self._replace(name, "".join(lines))

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        if not self.writer:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / name).open("a") as file:
            file.write(json.dumps(record, allow_nan=True) + "\n")

    def _read_lines(self, name: str) -> list[dict[str, Any]]:
        return read_lines(self.path / name)

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        if self.writer:
            self._replace(name, json.dumps(record, indent=2) + "\n")

    def _replace(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(path.name + ".tmp")
        scratch.write_text(text)
        scratch.replace(path)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None
