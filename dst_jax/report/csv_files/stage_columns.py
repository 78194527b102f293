"""The CSV files with a row a stage: what it reached, cost and left."""

from collections.abc import Callable, Iterator
from typing import Any

from dst_jax.report.csv_files.column import CsvColumn, CsvFile
from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.channels import multiplications_left
from dst_jax.report.tables.main_results import difference
from dst_jax.report.task_records import Metric, TaskRecord

__all__ = ["SMALLER_NETWORKS", "STAGES", "STAGE_NAME", "measured"]

STAGE_NAME = CsvColumn(
    "stage", "", "name of the stage in the run directory", lambda s, *_: s.name
)


def measured(task: TaskRecord) -> tuple[CsvColumn, ...]:
    """The columns of stages.csv that are compared over seeds: what the network is.

    Args:
      task: task of the runs.

    >>> from dst_jax.report.task_records import task_record
    >>> [column.name for column in measured(task_record({}))][:3]
    ['test_top1', 'test_top5', 'difference']
    """
    return (
        *(_metric(metric, "test") for metric in task.metrics),
        CsvColumn(
            "difference",
            _unit(task.best),
            f"test_{task.best.name} minus that of the start",
            difference,
        ),
        CsvColumn(
            "weight_sparsity", "share", "zeros of prunable weights", _weight_sparsity
        ),
        CsvColumn(
            "activation_sparsity_element",
            "share",
            "zeros of all activation maps together",
            lambda s, _: s.activation_element,
        ),
        CsvColumn(
            "activation_sparsity_layer_mean",
            "share",
            "plain mean of the maps' own shares",
            lambda s, _: s.activation_layer_mean,
        ),
        CsvColumn(
            "flops_drop_dense",
            "share",
            "multiplications with a zero operand, of all with padding",
            lambda s, _: s.drop_dense,
        ),
        CsvColumn(
            "flops_drop_valid",
            "share",
            "the same without the multiplications with padding",
            lambda s, _: s.drop_valid,
        ),
        CsvColumn(
            "training_share",
            "share",
            "multiplications of its training, of those of dense training",
            _training_share,
        ),
    )


def _training_share(stage: StageResults, run: RunResults) -> float | None:
    cost = run.training.get(stage.name)
    return cost and cost.total().effectual / cost.total().valid


def _weight_sparsity(stage: StageResults, run: RunResults) -> float:
    del run
    return stage.weight_sparsity


def _unit(metric: Metric) -> str:
    return "share" if metric.is_share else ""


def _metric(metric: Metric, split: str) -> CsvColumn:
    def value(stage: StageResults, run: RunResults) -> float | None:
        del run
        return (getattr(stage, split) or {}).get(metric.name)

    images = {"test": "the test images", "holdout": "the hold-out"}[split]
    meaning = f"{metric.title} on {images}"
    return CsvColumn(f"{split}_{metric.name}", _unit(metric), meaning, value)


def _stage_columns(task: TaskRecord) -> tuple[CsvColumn, ...]:
    return (
        STAGE_NAME,
        CsvColumn("title", "", "words for the stage", lambda s, _: s.title),
        CsvColumn("examples", "count", "test images", lambda s, _: s.examples),
        *measured(task),
        *(_metric(metric, "holdout") for metric in task.metrics),
        CsvColumn(
            "drift_euclidean", "", "distance of the weights from the start", _euclidean
        ),
        CsvColumn(
            "drift_cosine", "", "cosine similarity to the start's weights", _cosine
        ),
        CsvColumn("epochs", "epochs", "length of the stage", lambda s, _: s.epochs),
        CsvColumn("seconds", "s", "training time", lambda s, _: s.seconds),
        CsvColumn(
            "images_per_second",
            "images/s",
            "speed of training",
            lambda s, _: s.images_per_second,
        ),
        CsvColumn(
            "waiting", "share", "of the time, waiting for data", lambda s, _: s.waiting
        ),
        CsvColumn("parameters", "count", "parameters", lambda s, _: s.parameters),
    )


def _euclidean(stage: StageResults, run: RunResults) -> float | None:
    del run
    return stage.drift and stage.drift.euclidean


def _cosine(stage: StageResults, run: RunResults) -> float | None:
    del run
    return stage.drift and stage.drift.cosine


def _dense(stage: StageResults) -> int:
    return sum(layer.dense for layer in stage.products.values())


def _timed(name: str) -> Callable[..., Any]:
    def value(stage: StageResults, run: RunResults) -> Any:
        del run
        return stage.forward_time and getattr(stage.forward_time, name)

    return value


_SMALLER = (
    STAGE_NAME,
    CsvColumn(
        "channels_kept",
        "count",
        "channels of all groups that are left",
        lambda s, _: sum(c.kept for c in s.channels.values()),
    ),
    CsvColumn(
        "channels_whole",
        "count",
        "channels of the same groups before",
        lambda s, _: sum(c.whole for c in s.channels.values()),
    ),
    CsvColumn("examples", "count", "test images", lambda s, _: s.examples),
    CsvColumn(
        "dense",
        "count",
        "multiplications over all test images, zeros and padding included",
        lambda s, _: _dense(s),
    ),
    CsvColumn(
        "multiplications_left",
        "share",
        "of those of the whole network",
        lambda s, run: multiplications_left(run, s),
    ),
    CsvColumn("parameters", "count", "parameters", lambda s, _: s.parameters),
    CsvColumn(
        "forward_smaller", "s", "median time of a forward pass", _timed("smaller")
    ),
    CsvColumn("forward_whole", "s", "the same of the whole network", _timed("whole")),
    CsvColumn("forward_batch", "count", "images of that pass", _timed("batch")),
    CsvColumn("forward_runs", "count", "passes of each network", _timed("runs")),
    CsvColumn("forward_machine", "", "what they were measured on", _timed("machine")),
)


def _each_stage(run: RunResults) -> Iterator[tuple[StageResults, RunResults]]:
    return ((stage, run) for stage in run.stages)


def _smaller(run: RunResults) -> Iterator[tuple[StageResults, RunResults]]:
    return ((stage, run) for stage in run.stages if stage.channels)


STAGES = CsvFile("stages", _stage_columns, _each_stage)
SMALLER_NETWORKS = CsvFile("smaller_networks", lambda task: _SMALLER, _smaller)
