"""Several runs side by side: their stages, their mean over seeds, their settings."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.main_results import columns, conventions
from dst_jax.report.tables.run_facts import flatten
from dst_jax.report.tables.table import Table, named
from dst_jax.report.task_records import shared_task

__all__ = [
    "differences",
    "over_seeds",
    "run_names",
    "same_but_seed",
    "side_by_side",
    "stage_titles",
]


def run_names(runs: Sequence[RunResults]) -> list[str]:
    """The shortest paths that tell the runs apart, from their common parent.

    Raises:
      ValueError: a run directory is given twice.

    >>> run_names([RunResults(Path(f"runs/{name}"), ()) for name in ("a", "b")])
    ['a', 'b']
    >>> run_names([RunResults(Path(f"{name}/run"), ()) for name in ("a", "b")])
    ['a/run', 'b/run']
    """
    paths = [run.path for run in runs]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"{path} is given twice")
    parent = os.path.commonpath([path.parent for path in paths])
    return [Path(os.path.relpath(path, parent)).as_posix() for path in paths]


def stage_titles(runs: Sequence[RunResults]) -> list[str]:
    """The titles of all stages, each once, in order of first appearance.

    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("static", "pruned", {"top1": 0.9}, 8)
    >>> stage_titles([RunResults(Path(name), (stage,)) for name in ("a", "b")])
    ['pruned']
    """
    return list(dict.fromkeys(stage.title for run in runs for stage in run.stages))


def side_by_side(runs: Sequence[RunResults]) -> Table:
    """The stages of all runs, one run after another; only its first row is named.

    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("static", "pruned", {"top1": 0.9}, 8)
    >>> runs = [RunResults(Path(f"runs/{name}"), (stage,)) for name in ("a", "b")]
    >>> [row[:3] for row in side_by_side(runs).rows]
    [('a', 'pruned', '90.00'), ('b', 'pruned', '90.00')]
    """
    task = shared_task([run.task for run in runs])
    found = columns(task)
    rows = []
    for label, run in zip(run_names(runs), runs, strict=True):
        for stage in run.stages:
            cells = [column.text(column.value(stage, run)) for column in found]
            rows.append((label if stage is run.stages[0] else "", stage.title, *cells))
    return Table(
        title=task.words("{measure}, sparsity, multiplications"),
        headings=("run", "stage", *(column.heading for column in found)),
        rows=tuple(rows),
        note=conventions(runs),
        words=2,
        named=named(stage_titles(runs)),
    )


def over_seeds(runs: Sequence[RunResults]) -> Table:
    """Mean and sample standard deviation of the runs that differ in the seed only.

    >>> from dst_jax.report.run_results import StageResults
    >>> runs = []
    >>> for seed, top1 in enumerate((0.90, 0.92)):
    ...     stage = StageResults("static", "pruned", {"top1": top1}, 8)
    ...     runs.append(RunResults(Path(f"runs/{seed}"), (stage,), {"seed": seed}))
    >>> over_seeds(runs).rows[0][:4]
    ('0, 1', 'pruned', '2', '91.00 ±1.41')
    """
    names = run_names(runs)
    task = shared_task([run.task for run in runs])
    found = columns(task)
    rows = []
    for group in same_but_seed(runs):
        label = ", ".join(names[i] for i in group)  # on the group's first row
        same = [runs[i] for i in group]
        for title in stage_titles(same):
            own = [(s, run) for run in same for s in run.stages if s.title == title]
            cells = [c.spread([c.value(s, run) for s, run in own]) for c in found]
            rows.append((label, title, str(len(own)), *cells))
            label = ""
    return Table(
        title="Mean over seeds",
        headings=("runs", "stage", "n", *(column.heading for column in found)),
        rows=tuple(rows),
        note="Mean ± sample standard deviation of n runs that share all but the seed.",
        words=2,
        named=named(stage_titles(runs)),
    )


def same_but_seed(runs: Sequence[RunResults]) -> list[list[int]]:
    """Indices of the runs that share all settings but the seed; two at least.

    >>> runs = [RunResults(Path(f"runs/{i}"), (), {"seed": i}) for i in range(2)]
    >>> same_but_seed(runs)
    [[0, 1]]
    """
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        same = {k: v for k, v in _settings(run).items() if k.split(".")[-1] != "seed"}
        key = json.dumps([same, run.config.get("stages")], sort_keys=True, default=str)
        groups.setdefault(key, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def differences(runs: Sequence[RunResults]) -> Table:
    """The settings that are not the same in all runs.

    >>> configs = {"a": {"lr": 0.1, "epochs": 3}, "b": {"lr": 0.2, "epochs": 3}}
    >>> runs = [RunResults(Path(name), (), {"config": configs[name]}) for name in "ab"]
    >>> differences(runs).rows
    (('lr', '0.1', '0.2'),)
    """
    flat = [{"seed": r.config.get("seed")} | _settings(r) for r in runs]
    settings = dict.fromkeys(name for one in flat for name in one)
    rows = [(name, *(str(one.get(name, "-")) for one in flat)) for name in settings]
    return Table(
        title="Settings that differ",
        headings=("setting", *run_names(runs)),
        rows=tuple(row for row in rows if len(set(row[1:])) > 1),
        words=1 + len(runs),
    )


def _settings(run: RunResults) -> dict[str, Any]:
    """The configuration without the path of the run directory."""
    flat = flatten(run.config.get("config") or {})
    return {k: v for k, v in flat.items() if not _is_place(v, run.path)}


def _is_place(value: Any, path: Path) -> bool:
    """Whether a setting is the path that the run had when it was started."""
    return isinstance(value, str) and "/" in value and Path(value).name == path.name
