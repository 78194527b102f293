"""The tables of what one needs to repeat a run: its facts, its settings."""

from collections.abc import Mapping
from typing import Any

from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.table import Table

__all__ = ["facts", "flatten", "settings"]

_SHOWN = 20
"""Classes that are named."""


def facts(run: RunResults) -> Table:
    """What one needs to repeat the run: command, seed, data, versions, revision.

    >>> from pathlib import Path
    >>> config = {"seed": 3, "versions": {"jax": "0.10"}}
    >>> rows = facts(RunResults(Path("run"), (), config)).rows
    >>> [row for row in rows if row[1] != "-"]
    [('seed', '3'), ('versions', 'jax 0.10')]
    """
    config = run.config
    return Table(
        title="Run",
        headings=("", ""),
        rows=(
            ("command", _text(config.get("command"))),
            ("seed", _text(config.get("seed"))),
            ("started", _text(config.get("started"))),
            *_data(config.get("data") or {}),
            ("machine", _pairs(config.get("machine"))),
            ("versions", _pairs(config.get("versions"))),
            ("git revision", _revision(config.get("git"))),
            ("SHA-256 of the parameters", _text(run.params_sha256)),
        ),
        words=2,
    )


def settings(run: RunResults) -> Table:
    """The run's configuration, one dotted name per row.

    >>> from pathlib import Path
    >>> config = {"config": {"optim": {"lr": 0.1}}}
    >>> settings(RunResults(Path("run"), (), config)).rows
    (('optim.lr', '0.1'),)
    """
    flat = flatten(run.config.get("config") or {})
    return Table(
        title="Configuration",
        headings=("setting", "value"),
        rows=tuple((name, _text(value)) for name, value in flat.items()),
        words=2,
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted name.

    >>> flatten({"optim": {"lr": 0.1, "decay": None}})
    {'optim.lr': 0.1, 'optim.decay': None}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _data(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The data set's name, numbers of examples and classes."""
    if "name" not in found:
        return []
    rows = [("data", f"{found['name']}: {_pairs(found.get('examples', {}))}")]
    if names := found.get("class_names"):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        rows.append(("classes", ", ".join(names[:_SHOWN]) + more))
    return rows


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _pairs(record: Any) -> str:
    if not isinstance(record, Mapping):
        return _text(record)
    return ", ".join(f"{key} {value}" for key, value in record.items())


def _revision(git: Mapping[str, Any] | None) -> str:
    if not git:
        return "-"
    dirty = " (with uncommitted changes)" if git.get("dirty") else ""
    return f"{git.get('revision')}{dirty}"
