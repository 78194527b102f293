"""One class of several for every image."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from dst_jax import checks
from dst_jax.train.tasks.task import Direction
from dst_jax.typing import Scalar

__all__ = ["Classification", "classification"]

_RANKS = {"top1": 1, "top5": 5}
"""Metrics, and how many classes they take for right: all of them would say nothing."""


@partial(
    jax.tree_util.register_dataclass, data_fields=["label_smoothing"], meta_fields=[]
)
@dataclass(frozen=True)
class Classification:
    """See `classification`."""

    label_smoothing: Any = 0.0

    name: ClassVar[str] = "classification"
    loss_name: ClassVar[str] = "cross_entropy"
    label_shape: ClassVar[tuple[int, ...]] = ()
    titles: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"top1": "top-1", "top5": "top-5", "loss": "loss"}
    )
    shares: ClassVar[tuple[str, ...]] = ("top1", "top5", "accuracy")
    measure: ClassVar[str] = "accuracy"
    training: ClassVar[str] = "accuracy"

    @property
    def best(self) -> tuple[str, Direction]:
        """The largest top-1 accuracy.

        >>> Classification().best
        ('top1', 'max')
        """
        return "top1", "max"

    def loss(
        self, outputs: Float[Array, "batch classes"], labels: Int[Array, "batch"]
    ) -> Float[Array, ""]:
        """The cross-entropy with smoothed labels, averaged over the batch.

        >>> outputs, labels = jnp.array([[0.0, 0.0]]), jnp.array([1])
        >>> round(float(Classification().loss(outputs, labels)), 4)  # log 2
        0.6931
        """
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, outputs.shape[-1]), self.label_smoothing
        )
        return optax.softmax_cross_entropy(outputs, targets).mean()

    def batch_metrics(
        self, outputs: Float[Array, "batch classes"], labels: Int[Array, "batch"]
    ) -> dict[str, Float[Array, ""]]:
        """The accuracy on a batch.

        >>> outputs, labels = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([0, 0])
        >>> float(Classification().batch_metrics(outputs, labels)["accuracy"])
        0.5
        """
        return {"accuracy": (outputs.argmax(-1) == labels).mean()}

    def sums(
        self, outputs: Float[Array, "batch classes"], labels: Int[Array, "batch"]
    ) -> dict[str, Array]:
        """`examples`, `top1` and `top5` as int32, `loss` as float32.

        There is no `top5` of five classes or fewer: every label is among them. Ties go
        to the lower class, as `argmax` has it. The loss is the cross-entropy without
        smoothing.

        >>> sums = Classification().sums(jnp.eye(6), jnp.array([0, 1, 2, 0, 0, 0]))
        >>> [int(sums[name]) for name in ("examples", "top1", "top5")]
        [6, 3, 6]
        """
        rank = _rank(outputs, labels)
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
        return {
            "examples": jnp.int32(rank.size),
            **{
                name: (rank < first).sum(dtype=jnp.int32)
                for name, first in _RANKS.items()
                if first < max(outputs.shape[-1], 2)
            },
            "loss": losses.sum(),
        }

    def summary(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """`top1`, and `top5` if it is there, as shares, and `loss`, the mean.

        >>> Classification().summary({"examples": 4, "top1": 1, "top5": 3, "loss": 8.0})
        {'top1': 0.25, 'top5': 0.75, 'loss': 2.0}
        """
        n = sums["examples"]
        return {k: float(sums[k] / n) for k in (*_RANKS, "loss") if k in sums}


def classification(*, label_smoothing: Scalar = 0.0) -> Classification:
    """One class for every example: cross-entropy, top-1 and top-5 accuracy.

    Outputs are logits, (batch, classes); labels are int32, (batch,). The metrics are
    `top1`, `top5` where there are more than five classes, and `loss`; the largest
    `top1` is best.

    Args:
      label_smoothing: the share of every label that all classes get evenly, in [0, 1);
        may be traced. It changes the loss in training, not the one in evaluation.

    Raises:
      ValueError: `label_smoothing` is out of range.

    >>> task = classification(label_smoothing=0.1)
    >>> logits, labels = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([0, 0])
    >>> task.summary(task.sums(logits, labels))["top1"]
    0.5
    """
    checks.fraction("label_smoothing", label_smoothing)
    return Classification(label_smoothing)


def _rank(
    logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]
) -> Int[Array, "batch"]:
    """How many classes come before the label."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    classes = jnp.arange(logits.shape[1])[None]
    tied_before = (logits == own) & (classes < labels[:, None])
    # NaN logits compare false with everything: count them as before the label.
    ahead = ~(logits <= own) | tied_before
    return ahead.sum(1, dtype=jnp.int32)
