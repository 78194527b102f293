"""The tables of what each stage cost, and how far it moved the weights."""

from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.main_results import metric_text
from dst_jax.report.tables.table import Table, duration, named, number, percent

__all__ = ["costs", "drift"]


def drift(run: RunResults) -> Table:
    """The paper's Table 2: how far each stage moved the weights that it got.

    An untrained start has no rows: nothing is compared with it.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import Drift, StageResults
    >>> stage = StageResults(
    ...     "static", "pruned", {"top1": 0.9}, 8, drift=Drift(1.25, 0.96)
    ... )
    >>> drift(RunResults(Path("run"), (stage,))).rows
    (('pruned', '1.250', '0.9600'),)
    """
    return Table(
        title=f"Drift from the {_start(run)} weights",
        headings=("stage", "Euclidean distance", "cosine similarity"),
        rows=tuple(
            (s.title, number(s.drift.euclidean, 3), number(s.drift.cosine, 4))
            for s in run.stages
            if s.drift and run.stages[0] in run.compared
        ),
        named=named(s.title for s in run.stages),
    )


def costs(run: RunResults) -> Table:
    """What each stage cost, and its metrics on the hold-out.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults(
    ...     "static", "pruned", {"top1": 0.9}, 8, seconds=75.0, epochs=4
    ... )
    >>> costs(RunResults(Path("run"), (stage,))).rows[0][:4]
    ('pruned', 'static', '4', '1 min 15 s')
    """
    metrics = run.task.metrics
    return Table(
        title="Stages",
        headings=(
            "stage",
            "name",
            "epochs",
            "training time",
            "images / s",
            "waiting for data %",
            *(f"hold-out {metric.heading}" for metric in metrics),
            "test images",
        ),
        rows=tuple(
            (
                s.title,
                s.name,
                f"{s.epochs:g}",
                duration(s.seconds),
                _rate(s.images_per_second),
                percent(s.waiting),
                *(metric_text(m, (s.holdout or {}).get(m.name)) for m in metrics),
                number(s.examples),
            )
            for s in run.stages
        ),
        note=f"{_holdout_note(run)} {_time_note(run)}",
        words=2,
        named=named(s.title for s in run.stages),
    )


def _start(run: RunResults) -> str:
    """What the run started from, as in "the ... weights"."""
    start = run.baseline
    return "given" if start and start.name == "initial" else "dense baseline's"


def _holdout_note(run: RunResults) -> str:
    if any(s.holdout for s in run.stages):
        return run.task.words(
            "The hold-out is set aside from the training images; every other {measure} "
            "is measured on the test images, at the end of the stage."
        )
    return run.task.words(
        "No hold-out was set aside; {measure} is measured on the test images, at the "
        "end of the stage."
    )


def _time_note(run: RunResults) -> str:
    whole = duration(sum(stage.seconds for stage in run.stages))
    return f"Training took {whole} in all, evaluation not counted."


def _rate(rate: float | None) -> str:
    return number(rate, 0 if rate is None or rate >= 100 else 1)
