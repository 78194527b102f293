"""What a run was trained for: the names of its metrics, read from config.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dst_jax.runs import FIRST_TASK

__all__ = ["Metric", "TaskRecord", "shared_task", "task_record"]


@dataclass(frozen=True)
class Metric:
    """One number that a task measures.

    Attributes:
      name: key of the metric in the run's records.
      title: words for it in tables and figures.
      is_share: Whether it is a share in [0, 1], which is shown in percent.
    """

    name: str
    title: str
    is_share: bool = True

    @property
    def heading(self) -> str:
        """The title with its unit, for a column of a table.

        >>> Metric("top1", "top-1").heading, Metric("loss", "loss", False).heading
        ('top-1 %', 'loss')
        """
        return f"{self.title} %" if self.is_share else self.title

    @property
    def label(self) -> str:
        """The title with its unit, for an axis of a figure.

        >>> Metric("top1", "top-1").label
        'top-1, %'
        """
        return f"{self.title}, %" if self.is_share else self.title

    @property
    def scale(self) -> float:
        """The factor between the recorded number and the one shown.

        >>> Metric("top1", "top-1").scale, Metric("loss", "loss", False).scale
        (100.0, 1.0)
        """
        return 100.0 if self.is_share else 1.0


@dataclass(frozen=True)
class TaskRecord:
    """A task as the report sees it.

    Attributes:
      name: name of the task.
      measure: one word for what the metrics measure, such as "accuracy".
      metrics: metrics in the order of the tables; the first one chooses checkpoints.
      training: key of the first metric in the training lines of metrics.jsonl.
    """

    name: str
    measure: str
    metrics: tuple[Metric, ...]
    training: str

    @property
    def best(self) -> Metric:
        """The metric that chooses the best checkpoint.

        >>> task_record({}).best.name
        'top1'
        """
        return self.metrics[0]

    def words(self, text: str) -> str:
        """A text with the task's own word for every `{measure}` in it.

        >>> task_record({}).words("{measure} over training")
        'Accuracy over training'
        """
        filled = text.replace("{measure}", self.measure)
        return f"{filled[:1].upper()}{filled[1:]}"


def task_record(config: Mapping[str, Any]) -> TaskRecord:
    """The task that config.json records, classification if it records none.

    The record is `{"name": ..., "titles": {METRIC: TITLE}, "best": [METRIC, "max" or
    "min"]}`; without a title, the best metric has its name. Optional entries are
    `measure`, one word for what is measured (by default the title of the best metric),
    `shares`, the metrics in [0, 1] (by default all but the loss), and `training`, the
    key of the best metric in the training lines (by default its name). The loss is
    shown only if it is the best metric, the top-5 accuracy of classification only where
    the data has more than five classes.

    Args:
      config: object of config.json.

    Raises:
      KeyError: an entry of the record is missing.

    >>> [metric.title for metric in task_record({}).metrics]
    ['top-1', 'top-5']
    >>> [metric.title for metric in task_record({"data": {"num_classes": 5}}).metrics]
    ['top-1']
    >>> titles = {"pixel_accuracy": "pixels", "mean_iou": "mean IoU", "loss": "loss"}
    >>> task = {"name": "segmentation", "titles": titles, "best": ["mean_iou", "max"]}
    >>> [metric.title for metric in task_record({"task": task}).metrics]
    ['mean IoU', 'pixels']
    """
    given = config.get("task") or FIRST_TASK
    defaults = FIRST_TASK if given["name"] == FIRST_TASK["name"] else {}
    record = {**defaults, **given}
    best = record["best"][0]
    titles = {best: best} | record["titles"]
    shares = record.get("shares", [name for name in titles if name != "loss"])
    left_out = {"loss", *(("top5",) if defaults and _has_few_classes(config) else ())}
    order = [name for name in titles if name == best or name not in left_out]
    return TaskRecord(
        name=str(record["name"]),
        measure=str(record.get("measure", titles[best])),
        metrics=tuple(Metric(name, titles[name], name in shares) for name in order),
        training=str(record.get("training", best)),
    )


def _has_few_classes(config: Mapping[str, Any]) -> bool:
    """Whether the label is always among the first five classes."""
    classes = (config.get("data") or {}).get("num_classes")
    return classes is not None and classes <= 5


def shared_task(tasks: Sequence[TaskRecord]) -> TaskRecord:
    """The one task of several runs, with the metrics that all of them have.

    Raises:
      ValueError: the tasks differ, so that their metrics cannot stand in one table.

    >>> shared_task([task_record({}), task_record({})]).name
    'classification'
    """
    if len({replace(task, metrics=task.metrics[:1]) for task in tasks}) > 1:
        names = ", ".join(sorted({task.name for task in tasks}))
        raise ValueError(f"runs of different tasks cannot be compared: {names}")
    common = set.intersection(*(set(task.metrics) for task in tasks))
    return replace(tasks[0], metrics=tuple(m for m in tasks[0].metrics if m in common))
