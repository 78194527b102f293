"""Tasks as values: loss, metrics that add up, which metric is better."""

import inspect
from collections.abc import Callable
from typing import Any

from dst_jax import checks
from dst_jax.train.tasks.classification import Classification, classification
from dst_jax.train.tasks.task import (
    Task,
    batch_metrics,
    check,
    check_labels,
    loss_name,
    record,
    say,
)

__all__ = [
    "Classification",
    "Task",
    "batch_metrics",
    "check",
    "check_labels",
    "classification",
    "get",
    "loss_name",
    "names",
    "record",
    "say",
]

_TASKS: dict[str, Callable[..., Task]] = {"classification": classification}


def names() -> tuple[str, ...]:
    """The tasks that `get` knows, sorted.

    >>> names()
    ('classification',)
    """
    return tuple(sorted(_TASKS))


def get(name: str, **options: Any) -> Task:
    """A task by name.

    Args:
      name: one of `names()`, or `module:attribute` of a task, or of a function or class
        that makes one.
      **options: options of that function or class.

    Raises:
      ValueError: an unknown name or option, or a value out of range.
      TypeError: what is found is no task.

    >>> get("classification", label_smoothing=0.1).label_smoothing
    0.1
    >>> get("dst_jax.train.tasks:classification").best
    ('top1', 'max')
    """
    found = checks.lookup("task", name, _TASKS)
    if not isinstance(found, type) and isinstance(found, Task):
        checks.known_options(name, options, ())
        task = found
    else:
        if not callable(found):
            raise TypeError(f"task {name!r} must be a task or make one, got {found!r}")
        checks.known_options(name, options, inspect.signature(found).parameters)
        task = found(**options)
    check(task)
    return task
