"""Several runs side by side: their stages, their mean over seeds, their settings."""

import json
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dst_jax.report.results import Results
from dst_jax.report.tables.stages import (
    CONVENTIONS,
    STAGE_HEADINGS,
    flatten,
    stage_cells,
    stage_values,
)
from dst_jax.report.tables.table import Table

__all__ = ["differences", "over_seeds", "run_names", "side_by_side"]


def run_names(runs: Sequence[Results]) -> list[str]:
    """The shortest paths that tell the runs apart, from their common parent.

    Raises:
      ValueError: a run directory is given twice.
    """
    paths = [run.path for run in runs]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"{path} is given twice")
    parent = os.path.commonpath([path.parent for path in paths])
    return [Path(os.path.relpath(path, parent)).as_posix() for path in paths]


def side_by_side(runs: Sequence[Results]) -> Table:
    """The stages of all runs, one run after another; only its first row is named."""
    return Table(
        title="Accuracy, sparsity, multiplications",
        headings=("run", "stage", *STAGE_HEADINGS),
        rows=tuple(
            (name if i == 0 else "", stage.title, *stage_cells(stage, run))
            for name, run in zip(run_names(runs), runs, strict=True)
            for i, stage in enumerate(run.stages)
        ),
        note=CONVENTIONS,
        words=2,
    )


def over_seeds(runs: Sequence[Results]) -> Table:
    """Mean and sample standard deviation of the runs that differ in the seed only."""
    names = run_names(runs)
    rows = []
    for group in _groups(runs):
        label = ", ".join(names[i] for i in group)  # on the group's first row
        found = [(stage, runs[i]) for i in group for stage in runs[i].stages]
        for title in dict.fromkeys(stage.title for stage, _ in found):
            values = [stage_values(s, run) for s, run in found if s.title == title]
            top1, difference, *others = zip(*values, strict=True)
            cells = _spread(top1), _spread(difference, sign="+"), *map(_spread, others)
            rows.append((label, title, str(len(values)), *cells))
            label = ""
    return Table(
        title="Mean over seeds",
        headings=("runs", "stage", "n", *STAGE_HEADINGS),
        rows=tuple(rows),
        note="Mean ± sample standard deviation of n runs that share all but the seed.",
        words=2,
    )


def differences(runs: Sequence[Results]) -> Table:
    """The settings that are not the same in all runs."""
    flat = [{"seed": r.config.get("seed")} | _settings(r) for r in runs]
    settings = dict.fromkeys(name for one in flat for name in one)
    rows = [(name, *(str(one.get(name, "-")) for one in flat)) for name in settings]
    return Table(
        title="Settings that differ",
        headings=("setting", *run_names(runs)),
        rows=tuple(row for row in rows if len(set(row[1:])) > 1),
        words=1 + len(runs),
    )


def _groups(runs: Sequence[Results]) -> list[list[int]]:
    """Indices of the runs that share all settings but the seed; two at least."""
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        same = {k: v for k, v in _settings(run).items() if k.split(".")[-1] != "seed"}
        key = json.dumps([same, run.config.get("stages")], sort_keys=True, default=str)
        groups.setdefault(key, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def _settings(run: Results) -> dict[str, Any]:
    """The configuration without the run's own place on disk."""
    flat = flatten(run.config.get("config") or {})
    return {k: v for k, v in flat.items() if not _is_place(v, run.path)}


def _is_place(value: Any, path: Path) -> bool:
    """Whether a setting is the path that the run had when it was started."""
    return isinstance(value, str) and "/" in value and Path(value).name == path.name


def _spread(values: Sequence[float], *, sign: str = "") -> str:
    """`mean ± sample standard deviation` in percent, `-` without numbers."""
    if any(math.isnan(v) for v in values):
        return "-"
    mean = f"{100 * statistics.fmean(values):{sign}.2f}"
    if len(values) < 2:
        return mean
    return f"{mean} ±{100 * statistics.stdev(values):.2f}"
