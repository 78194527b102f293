"""Tasks as values: loss, metrics that add up, which metric is better."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dst_jax import checks
from dst_jax.train.tasks.classification import Classification, classification
from dst_jax.train.tasks.segmentation import Segmentation, segmentation
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
    "Segmentation",
    "Task",
    "batch_metrics",
    "check",
    "check_labels",
    "classification",
    "get",
    "loss_name",
    "names",
    "options",
    "record",
    "say",
    "segmentation",
]

_TASKS: dict[str, Callable[..., Task]] = {
    "classification": classification,
    "segmentation": segmentation,
}


def names() -> tuple[str, ...]:
    """The tasks that `get` knows, sorted.

    >>> names()
    ('classification', 'segmentation')
    """
    return tuple(sorted(_TASKS))


def options(name: str) -> tuple[str, ...]:
    """The options that `get` takes for a task.

    Args:
      name: one of `names()`, or `module:attribute`.

    Raises:
      ValueError: an unknown name.

    >>> options("segmentation")
    ('num_classes', 'ignore', 'class_weights')
    """
    found = checks.lookup("task", name, _TASKS)
    made = not isinstance(found, type) and isinstance(found, Task)
    if made or not callable(found):
        return ()
    return tuple(inspect.signature(found).parameters)


def get(name: str, **options: Any) -> Task:
    """A task by name.

    Args:
      name: one of `names()`, or `module:attribute` of a task, or of a function or class
        that makes one.
      **options: options of that function or class.

    Raises:
      ValueError: an unknown name or option, one that is missing, or a value out of
        range.
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
        parameters = inspect.signature(found).parameters
        checks.known_options(name, options, parameters)
        _check_complete(name, options, parameters)
        task = found(**options)
    check(task)
    return task


def _check_complete(
    name: str,
    options: Mapping[str, Any],
    parameters: Mapping[str, inspect.Parameter],
) -> None:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        option
        for option, parameter in parameters.items()
        if parameter.kind in named
        and parameter.default is inspect.Parameter.empty
        and option not in options
    ]
    if missing:
        raise ValueError(f"task {name!r} needs the options {missing}")
