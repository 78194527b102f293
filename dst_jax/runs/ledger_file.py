"""The file of a run that holds the multiplications of its training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dst_jax.runs.json_files import append_line, read_lines

if TYPE_CHECKING:
    from dst_jax.runs.directory import Run

__all__ = ["log_ledger", "read_ledger"]

_NAME = "ledger.jsonl"


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
        append_line(run.path / _NAME, record)


def read_ledger(run: "Run") -> list[dict[str, Any]]:
    """The lines of ledger.jsonl; a line cut short by a kill is left out.

    >>> from dst_jax.runs import Run
    >>> read_ledger(Run("nowhere"))
    []
    """
    return read_lines(run.path / _NAME)
