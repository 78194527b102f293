"""The metric that decides: which network is better, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dst_jax.report.tables.main_results import metric_text
from dst_jax.report.task_records import Metric, task_record
from dst_jax.train import tasks

__all__ = ["Quality", "quality_of"]


@dataclass(frozen=True)
class Quality:
    """The metric that a task calls best, as a function of a record.

    Attributes:
      metric: name, title and unit.
      measure: one word for what it measures, such as "accuracy".
      largest: Whether the largest value is best.
    """

    metric: Metric
    measure: str
    largest: bool = True

    def __call__(self, record: Mapping[str, Any]) -> float:
        """The metric in a record.

        >>> from dst_jax.train import tasks
        >>> quality_of(tasks.classification())({"top1": 0.9, "loss": 0.3})
        0.9
        """
        return record[self.metric.name]

    def gain(self, value: float) -> float:
        """A value of the metric, negated where small values are better.

        >>> from dst_jax.train import tasks
        >>> quality_of(tasks.classification()).gain(0.5)
        0.5
        """
        return value if self.largest else -value

    def say(self, record: Mapping[str, Any]) -> str:
        """The metric in a record, in words.

        >>> from dst_jax.train import tasks
        >>> quality_of(tasks.classification()).say({"top1": 0.9})
        'top-1 90.00%'
        """
        unit = "%" if self.metric.is_share else ""
        return f"{self.metric.title} {self.text(self(record))}{unit}"

    def text(self, value: float) -> str:
        """A value of the metric as tables have it.

        >>> from dst_jax.train import tasks
        >>> quality_of(tasks.classification()).text(0.9)
        '90.00'
        """
        return metric_text(self.metric, value)


def quality_of(task: tasks.Task) -> Quality:
    """The metric that a task calls best.

    >>> from dst_jax.train import tasks
    >>> quality_of(tasks.classification()).metric.heading
    'top-1 %'
    """
    record = tasks.record(task)
    found = task_record({"task": record})
    return Quality(found.best, found.measure, record["best"][1] == "max")
