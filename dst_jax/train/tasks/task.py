"""What a task is, and what can be asked about any of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from jaxtyping import Array, Float

from dst_jax.runs.object_names import name_of

__all__ = [
    "Direction",
    "Task",
    "batch_metrics",
    "check",
    "check_labels",
    "loss_name",
    "record",
    "say",
]

Direction = Literal["max", "min"]


@runtime_checkable
class Task(Protocol):
    """What a network is trained for: its loss, its metrics, which of them decides.

    These four members are enough. A task may also have:

      name           what a run calls it; by default the name of its class
      titles         what reports call each metric, such as `{"top1": "top-1"}`; by
                     default its own name
      shares         names of the metrics that are shares in [0, 1], shown in percent
      measure        what the best metric measures, in a word for reports: "accuracy"
      batch_metrics  `(outputs, labels) -> {name: scalar}`: what else is logged of the
                     batches of the training
      training       which of these is the best metric on a batch; by default that of
                     the same name
      loss_name      what logs call its loss; `task_loss` by default
      label_shape    shape of one example's label, `()` for a class; any by default
      recorded_options  the options, as plain values, that `get` makes it again with;
                     by default the fields of a dataclass, if all are plain
      predictions    `(outputs) -> labels`: what the network says; where each pixel has
                     a label, a run keeps some of them for reports

    A task that is registered as a pytree has its numbers traced, as
    `classification(label_smoothing=...)` has; any other is part of the program.
    """

    @property
    def best(self) -> tuple[str, Direction]:
        """The metric that chooses the best checkpoint, and which way it should go."""
        ...

    def loss(self, outputs: Any, labels: Array) -> Float[Array, ""]:
        """What is minimised, a mean over the batch."""
        ...

    def sums(self, outputs: Any, labels: Array) -> Mapping[str, Array]:
        """What adds up exactly over the batches of a set: int32 counts, float32 sums.

        The number of examples is added as `examples`, if it is not there.
        """
        ...

    def summary(self, sums: Mapping[str, Any]) -> Mapping[str, float]:
        """The metrics of a set, from its sums as Python and NumPy numbers."""
        ...


def check(task: Any) -> None:
    """Refuses what is no task.

    Raises:
      TypeError: a member is missing.
      ValueError: `best` is not a metric's name and a direction.

    >>> from dst_jax.train import tasks
    >>> check(tasks.classification())
    """
    if isinstance(task, type) or not isinstance(task, Task):
        raise TypeError(
            f"task must have best, loss, sums and summary, see train.tasks.Task, got"
            f" {task!r}"
        )
    if len(task.best) != 2 or task.best[1] not in get_args(Direction):
        raise ValueError(
            f"task.best must be a metric's name and one of {get_args(Direction)}, got"
            f" {task.best!r}"
        )


def loss_name(task: Task) -> str:
    """What logs call the loss of a task.

    >>> from dst_jax.train import tasks
    >>> loss_name(tasks.classification())
    'cross_entropy'
    """
    return getattr(task, "loss_name", "task_loss")


def batch_metrics(
    task: Task, outputs: Any, labels: Array
) -> dict[str, Float[Array, ""]]:
    """What else a task measures of a training batch.

    >>> import jax.numpy as jnp
    >>> from dst_jax.train import tasks
    >>> outputs, labels = jnp.eye(4), jnp.array([0, 1, 2, 2])
    >>> float(batch_metrics(tasks.classification(), outputs, labels)["accuracy"])
    0.75
    """
    own = getattr(task, "batch_metrics", None)
    return {} if own is None else dict(own(outputs, labels))


def check_labels(task: Task, labels: Array) -> None:
    """Refuses labels of another shape than the task's.

    Raises:
      ValueError: one example's label has another shape.

    >>> import jax.numpy as jnp
    >>> from dst_jax.train import tasks
    >>> check_labels(tasks.classification(), jnp.zeros((8, 3)))
    Traceback (most recent call last):
    ValueError: labels of classification must have shape (batch,), got (8, 3)
    """
    wanted = getattr(task, "label_shape", None)
    if wanted is not None and labels.shape[1:] != tuple(wanted):
        shape = ", ".join(["batch", *map(str, wanted)])
        shape = f"({shape},)" if not wanted else f"({shape})"
        raise ValueError(
            f"labels of {_name(task)} must have shape {shape}, got {labels.shape}"
        )


def say(task: Task, metrics: Mapping[str, float]) -> str:
    """Metrics in a line for the console.

    >>> from dst_jax.train import tasks
    >>> say(tasks.classification(), {"top1": 0.5, "loss": 0.25})
    'top-1 50.00%, loss 0.2500'
    """
    titles, shares = _titles(task), getattr(task, "shares", ())
    return ", ".join(
        f"{titles.get(name, name)} {value:{'.2%' if name in shares else '.4f'}}"
        for name, value in metrics.items()
    )


def record(task: Task) -> dict[str, Any]:
    """What a run's record says of its task, for reports.

    >>> from dst_jax.train import tasks
    >>> found = record(tasks.classification())
    >>> found["name"], found["best"], found["titles"]["top1"]
    ('classification', ['top1', 'max'], 'top-1')
    """
    words = {k: getattr(task, k) for k in ("measure", "training") if hasattr(task, k)}
    if (options := _options(task)) is not None:
        words["options"] = options
    return {
        "name": _name(task),
        "made_by": name_of(task),
        "titles": _titles(task),
        "best": list(task.best),
        "shares": list(getattr(task, "shares", ())),
        **words,
    }


def _options(task: Task) -> dict[str, Any] | None:
    """What the task says that it was made with, or the plain fields of a dataclass."""
    own = getattr(task, "recorded_options", None)
    if own is not None:
        return dict(own)
    if not dataclasses.is_dataclass(task):
        return None
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task) if f.init}
    known = (bool, int, float, str, type(None))
    return fields if all(type(x) in known for x in fields.values()) else None


def _name(task: Task) -> str:
    return getattr(task, "name", type(task).__name__)


def _titles(task: Task) -> dict[str, str]:
    return dict(getattr(task, "titles", {}))
