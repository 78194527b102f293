"""The main table: metrics, sparsity and multiplications of every stage."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.table import Table, named, number, percent, signed
from dst_jax.report.task_records import Metric, TaskRecord

__all__ = [
    "Column",
    "columns",
    "conventions",
    "difference",
    "metric_text",
    "stages",
]

_CONVENTIONS = (
    "Activation sparsity: zeros among the outputs of the ReLUs. Element: over all maps "
    "together, so large maps count more. Layer mean: the plain mean of the layers' own "
    "shares. FLOPs drop: the share of multiplications with a zero operand. Of dense: "
    "every product of the dense network, those with padding included, as FLOPs are "
    "usually counted. Of valid: without the products with padding, which no network "
    "needs."
)
SMALLER = (
    " Of a network made smaller, sparsity and FLOPs drop are those of what is left."
)


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
      heading: text above the column.
      value: function of a stage and its run to the number; NaN if there is none.
      text: function that writes the number.
      deviation: function that writes a standard deviation of such numbers.
    """

    heading: str
    value: Callable[[StageResults, RunResults], float]
    text: Callable[[float], str] = percent
    deviation: Callable[[float], str] = percent

    def spread(self, values: Sequence[float]) -> str:
        """`mean ± sample standard deviation`; `-` if a number is missing.

        >>> Column("top-1 %", lambda stage, run: 0.0).spread([0.90, 0.92])
        '91.00 ±1.41'
        """
        if any(math.isnan(value) for value in values):
            return "-"
        mean = self.text(statistics.fmean(values))
        if len(values) < 2:
            return mean
        return f"{mean} ±{self.deviation(statistics.stdev(values))}"


def stages(run: RunResults) -> Table:
    """The paper's Table 3 for one run: a row per finished stage.

    >>> from pathlib import Path
    >>> stage = StageResults(
    ...     "static", "pruned", {"top1": 0.9}, 8, weight_sparsity=0.6
    ... )
    >>> stages(RunResults(Path("run"), (stage,))).rows[0][:5]
    ('pruned', '90.00', '-', '-', '60.00')
    """
    found = columns(run.task)
    smaller = any(stage.channels for stage in run.stages)
    return Table(
        title=run.task.words("{measure}, sparsity, multiplications"),
        headings=("stage", *(column.heading for column in found)),
        rows=tuple(
            (stage.title, *(column.text(column.value(stage, run)) for column in found))
            for stage in run.stages
        ),
        note=conventions([run]) + (SMALLER if smaller else ""),
        named=named(stage.title for stage in run.stages),
    )


def conventions(runs: Sequence[RunResults]) -> str:
    """What the columns of the main table mean.

    Args:
      runs: the runs in it.

    >>> from pathlib import Path
    >>> start = StageResults("initial", "given weights", {"top1": 0.9}, 8)
    >>> conventions([RunResults(Path("run"), (start,))]).partition(".")[0]
    'Δ: the difference from the given weights'
    """
    found = [run.baseline.title for run in runs if run.baseline is not None]
    if not found:
        return _CONVENTIONS
    starts = " or the ".join(dict.fromkeys(found))
    return f"Δ: the difference from the {starts}. {_CONVENTIONS}"


def columns(task: TaskRecord) -> tuple[Column, ...]:
    """The columns of the main table; the one that names the stage is not among them.

    >>> from dst_jax.report.task_records import task_record
    >>> [column.heading for column in columns(task_record({}))][:4]
    ['top-1 %', 'Δ top-1, points', 'top-5 %', 'weight sparsity %']
    """
    best, *others = task.metrics
    return (
        _of_metric(best),
        _of_difference(best),
        *map(_of_metric, others),
        Column("weight sparsity %", lambda s, _: s.weight_sparsity),
        Column("activation sparsity %, element", lambda s, _: s.activation_element),
        Column(
            "activation sparsity %, layer mean", lambda s, _: s.activation_layer_mean
        ),
        Column("FLOPs drop %, of dense", lambda s, _: s.drop_dense),
        Column("FLOPs drop %, of valid", lambda s, _: s.drop_valid),
    )


def difference(stage: StageResults, run: RunResults) -> float:
    """The best metric minus that of the baseline; NaN for the baseline or without it.

    >>> from pathlib import Path
    >>> stages = [
    ...     StageResults(name, name, {"top1": top1}, 10)
    ...     for name, top1 in (("pretrain", 0.75), ("static", 0.5))
    ... ]
    >>> difference(stages[1], RunResults(Path("run"), tuple(stages)))
    -0.25
    """
    name, baseline = run.task.best.name, run.baseline
    if baseline is None or stage is baseline:
        return math.nan
    return stage.test[name] - baseline.test[name]


def metric_text(metric: Metric, value: float | None) -> str:
    """A metric's value: percent for a share, four decimals for other numbers.

    >>> metric_text(Metric("top1", "top-1"), 0.9866)
    '98.66'
    >>> metric_text(Metric("loss", "loss", is_share=False), None)
    '-'
    """
    return percent(value) if metric.is_share else number(value, 4)


def _of_metric(metric: Metric) -> Column:
    def value(stage: StageResults, _: RunResults) -> float:
        return stage.test.get(metric.name, math.nan)

    text = partial(metric_text, metric)
    return Column(metric.heading, value, text, text)


def _of_difference(metric: Metric) -> Column:
    if metric.is_share:
        return Column(f"Δ {metric.title}, points", difference, signed)
    plain = partial(metric_text, metric)
    return Column(f"Δ {metric.title}", difference, plain, plain)
