"""Files of a run that hold what was measured besides its results, if it was asked for.

The ledger has the multiplications of training; storage/STAGE.json has the bits of the
tensors at the end of a stage; allocation/NAME.json has what was chosen for every layer;
post_training.json the searches of post-training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dst_jax.runs.json_files import (
    append_line,
    read_lines,
    read_object,
    to_json,
    write_text,
)

if TYPE_CHECKING:
    from dst_jax.runs.directory import Run

__all__ = [
    "log_ledger",
    "read_allocation",
    "read_ledger",
    "read_post_training",
    "read_storage",
    "write_allocation",
    "write_post_training",
    "write_storage",
]

_LEDGER = "ledger.jsonl"
_POST_TRAINING = "post_training.json"


def log_ledger(run: "Run", record: Mapping[str, Any]) -> None:
    """Appends one line to ledger.jsonl.

    >>> import tempfile
    >>> from dst_jax.runs import Run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run(folder)
    ...     before = read_ledger(run)
    ...     log_ledger(run, {"kind": "interval", "step": 2})
    ...     before, read_ledger(run)
    ([], [{'kind': 'interval', 'step': 2}])
    """
    if run.writer:
        append_line(run.path / _LEDGER, record)


def read_ledger(run: "Run") -> list[dict[str, Any]]:
    """The lines of ledger.jsonl; a line cut short by a kill is left out.

    >>> from dst_jax.runs import Run
    >>> read_ledger(Run("nowhere"))
    []
    """
    return read_lines(run.path / _LEDGER)


def write_storage(run: "Run", name: str, record: Mapping[str, Any]) -> None:
    """Writes storage/NAME.json, the bits of all tensors at the end of a stage.

    >>> import tempfile
    >>> from dst_jax.runs import Run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_storage(Run(folder), "dense", {"value_bits": 16})
    ...     read_storage(Run(folder), "dense")
    {'value_bits': 16}
    """
    if run.writer:
        write_text(_storage(run, name), to_json(record, indent=2) + "\n")


def read_storage(run: "Run", name: str) -> dict[str, Any] | None:
    """storage/NAME.json, or None if it was not measured.

    >>> from dst_jax.runs import Run
    >>> read_storage(Run("nowhere"), "dense")
    """
    return read_object(_storage(run, name))


def write_post_training(run: "Run", record: Mapping[str, Any]) -> None:
    """Writes post_training.json, what was searched for and chosen.

    >>> import tempfile
    >>> from dst_jax.runs import Run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_post_training(Run(folder), {"chosen": "weights_50"})
    ...     read_post_training(Run(folder))
    {'chosen': 'weights_50'}
    """
    if run.writer:
        write_text(run.path / _POST_TRAINING, to_json(record, indent=2) + "\n")


def read_post_training(run: "Run") -> dict[str, Any] | None:
    """post_training.json, or None before anything was searched for.

    >>> from dst_jax.runs import Run
    >>> read_post_training(Run("nowhere"))
    """
    return read_object(run.path / _POST_TRAINING)


def write_allocation(run: "Run", name: str, record: Mapping[str, Any]) -> None:
    """Writes allocation/NAME.json, the options of every layer and those chosen.

    >>> import tempfile
    >>> from dst_jax.runs import Run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_allocation(Run(folder), "dense-scnn", {"budget": 0.5})
    ...     read_allocation(Run(folder), "dense-scnn")
    {'budget': 0.5}
    """
    if run.writer:
        path = run.path / f"allocation/{name}.json"
        write_text(path, to_json(record, indent=2) + "\n")


def read_allocation(run: "Run", name: str) -> dict[str, Any] | None:
    """allocation/NAME.json, or None if nothing was allocated under this name.

    >>> from dst_jax.runs import Run
    >>> read_allocation(Run("nowhere"), "dense-scnn")
    """
    return read_object(run.path / f"allocation/{name}.json")


def _storage(run: "Run", name: str) -> Path:
    return run.path / f"storage/{name}.json"
