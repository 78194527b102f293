"""Which directory holds a stage's last checkpoints, by the record of its run."""

from pathlib import Path

from dst_jax.runs import Run
from dst_jax.train import integrity

__all__ = ["directory_of"]


def directory_of(run: Run, stage: str | None = None) -> Path:
    """The directory of a stage's last phase, in the order in which a run records them.

    Neither the times of files, which copies change, nor other files in the directory
    matter.

    Args:
      run: the run.
      stage: name of the stage; the last one that has a checkpoint if None.

    Raises:
      ValueError: the run has no such stage, has lost its checkpoints, or does not say
        which phase is the last.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run(folder)
    ...     phases = {"a": ["a"], "b": ["b.x", "b.c"]}
    ...     run.write_config({"stages": ["a", "b"], "checkpoints": phases})
    ...     for name in ("b.c", "a", "b.x"):
    ...         (run.checkpoints / name / "8").mkdir(parents=True)
    ...     directory_of(run).name, directory_of(run, "a").name
    ('b.c', 'a')
    """
    record = run.read_config() or {}
    stages = record.get("stages") or []
    for name in reversed(stages) if stage is None else [stage]:
        recorded = record.get("checkpoints") or {}
        phases = recorded.get(name) or _logged(run, name) or _only(run, name)
        there = [p for p in phases if integrity.numbered(run.checkpoints / p)]
        finished = run.read_stage(name) is not None
        if finished and (not there or there[-1] != phases[-1]):
            lost = f" in {run.checkpoints / phases[-1]}" if phases else ""
            raise ValueError(
                f"no intact checkpoint at {run.path}: the stage {name} is finished, and"
                f" its checkpoints{lost} are lost"
            )
        if there:
            return run.checkpoints / there[-1]
    wanted = "a stage" if stage is None else f"the stage {stage}"
    raise ValueError(
        f"no intact checkpoint at {run.path}: there is none of {wanted} that its"
        f" config.json names; give a stage's directory ({run.checkpoints}/STAGE)"
    )


def _logged(run: Run, stage: str) -> list[str]:
    """The phases in the order in which they were trained: a record of earlier runs."""
    phases = [m["phase"] for m in run.read_metrics() if m.get("stage") == stage]
    return [p if p == stage else f"{stage}.{p}" for p in dict.fromkeys(phases)]


def _only(run: Run, stage: str) -> list[str]:
    """The one directory that can be the stage's, if nothing says more."""
    names = [path.name for path in run.checkpoints.iterdir()]
    found = sorted(n for n in names if n == stage or n.startswith(f"{stage}."))
    if len(found) > 1:
        raise ValueError(
            f"{run.path} does not say which phase of {stage} is the last: give the path"
            f" of one of {', '.join(found)} in {run.checkpoints}"
        )
    return found
