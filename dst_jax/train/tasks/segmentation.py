"""One class of several for every pixel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dst_jax import checks
from dst_jax.train.tasks.task import Direction
from dst_jax.typing import Scalar, is_traced

__all__ = ["Segmentation", "segmentation"]

_MOST_PIXELS = 2**31


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["class_weights"],
    meta_fields=["num_classes", "ignore"],
)
@dataclass(frozen=True)
class Segmentation:
    """See `segmentation`."""

    num_classes: int
    ignore: int | None = None
    class_weights: Any = None

    name: ClassVar[str] = "segmentation"
    loss_name: ClassVar[str] = "cross_entropy"
    titles: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy", "loss": "loss"}
    )
    shares: ClassVar[tuple[str, ...]] = ("mean_iou", "pixel_accuracy")
    measure: ClassVar[str] = "mean IoU"
    training: ClassVar[str] = "mean_iou"

    @property
    def best(self) -> tuple[str, Direction]:
        """The largest mean IoU.

        >>> Segmentation(2).best
        ('mean_iou', 'max')
        """
        return "mean_iou", "max"

    @property
    def recorded_options(self) -> dict[str, int | None]:
        """The options that the metrics depend on, for a run's record.

        >>> Segmentation(2, ignore=255).recorded_options
        {'num_classes': 2, 'ignore': 255}
        """
        return {"num_classes": self.num_classes, "ignore": self.ignore}

    def loss(
        self,
        outputs: Array | np.ndarray,
        labels: Array | np.ndarray,
    ) -> Float[Array, ""]:
        """The cross-entropy, averaged over the labelled pixels of the batch.

            sum_p w[y_p] CE_p / sum_p w[y_p],   w the class weights, 1 by default

        It is 0 where no pixel is labelled, and NaN where a label is out of range.

        Raises:
          ValueError: the outputs or the labels have another shape.

        >>> outputs, labels = jnp.zeros((1, 1, 2, 2)), jnp.array([[[1, 255]]])
        >>> round(float(Segmentation(2, ignore=255).loss(outputs, labels)), 4)  # log 2
        0.6931
        """
        losses, labelled = self._cross_entropies(outputs, labels)
        weights = labelled.astype(losses.dtype)
        if self.class_weights is not None:
            by_class = jnp.asarray(self.class_weights, losses.dtype)
            weights *= jnp.take(by_class, labels, mode="clip")
        total = weights.sum()
        return (weights * losses).sum() / jnp.where(total > 0, total, 1)

    def batch_metrics(
        self,
        outputs: Array | np.ndarray,
        labels: Array | np.ndarray,
    ) -> dict[str, Float[Array, ""]]:
        """Mean IoU and pixel accuracy on a batch.

        >>> outputs, labels = jnp.eye(2)[None, None], jnp.array([[[0, 0]]])
        >>> metrics = Segmentation(2).batch_metrics(outputs, labels)
        >>> float(metrics["mean_iou"]), float(metrics["pixel_accuracy"])
        (0.25, 0.5)
        """
        confusion = self.sums(outputs, labels)["confusion"].astype(jnp.float32)
        hits, union = jnp.diag(confusion), _union(confusion)
        seen, pixels = (union > 0).sum(), confusion.sum()
        shares = hits / jnp.where(union > 0, union, 1)
        return {
            "mean_iou": shares.sum() / jnp.where(seen > 0, seen, 1),
            "pixel_accuracy": hits.sum() / jnp.where(pixels > 0, pixels, 1),
        }

    def sums(
        self,
        outputs: Array | np.ndarray,
        labels: Array | np.ndarray,
    ) -> dict[str, Array]:
        """The confusion matrix as int32, and what else adds up over a set.

        `confusion[i, j]` is the number of pixels of class i that are taken for class j;
        `outside` that of labels which are neither a class nor ignored. `loss` is the
        cross-entropy without class weights, in float32. Ties go to the lower class.

        Raises:
          ValueError: the outputs or the labels have another shape, or a batch has 2^31
            pixels.

        >>> outputs, labels = jnp.eye(2)[None, None], jnp.array([[[0, 0]]])
        >>> Segmentation(2).sums(outputs, labels)["confusion"].tolist()
        [[1, 1], [0, 0]]
        """
        losses, labelled = self._cross_entropies(outputs, labels)
        if labels.size >= _MOST_PIXELS:
            raise ValueError(
                f"a batch must have fewer than 2**31 pixels, got {labels.shape}: an"
                " int32 counts them"
            )
        n = self.num_classes
        known = self._known(labels) & labelled
        cells = jnp.where(known, labels * n + self.predictions(outputs), n * n)
        counts = jnp.zeros(n * n, jnp.int32).at[cells].add(1, mode="drop")
        return {
            "examples": jnp.int32(len(labels)),
            "confusion": counts.reshape(n, n),
            "outside": (labelled & ~known).sum(dtype=jnp.int32),
            "loss": jnp.where(known, losses, 0).sum(),
        }

    def summary(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """`mean_iou`, `pixel_accuracy` and `loss`, the mean over the labelled pixels.

        A class that is neither in the labels nor predicted has no intersection over
        union, and is left out of their mean.

        Raises:
          ValueError: a label was out of range.

        >>> sums = {"confusion": np.array([[3, 1], [0, 4]]), "outside": 0, "loss": 4.0}
        >>> Segmentation(2).summary(sums)
        {'mean_iou': 0.775, 'pixel_accuracy': 0.875, 'loss': 0.5}
        """
        if sums["outside"]:
            ignored = "" if self.ignore is None else f" or {self.ignore} (ignored)"
            raise ValueError(
                f"labels of segmentation must be in [0, {self.num_classes}){ignored},"
                f" but {int(sums['outside'])} pixels have others"
            )
        confusion = np.asarray(sums["confusion"])
        hits, union, pixels = np.diag(confusion), _union(confusion), confusion.sum()
        if not pixels:
            return dict.fromkeys(("mean_iou", "pixel_accuracy", "loss"), float("nan"))
        seen = union > 0
        return {
            "mean_iou": float((hits[seen] / union[seen]).mean()),
            "pixel_accuracy": float(hits.sum() / pixels),
            "loss": float(sums["loss"] / pixels),
        }

    def predictions(self, outputs: Array | np.ndarray) -> Array | np.ndarray:
        """The class of every pixel.

        >>> Segmentation(2).predictions(jnp.eye(2)[None, None]).tolist()
        [[[0, 1]]]
        """
        return outputs.argmax(-1).astype(jnp.int32)

    def _cross_entropies(
        self, outputs: Array | np.ndarray, labels: Array | np.ndarray
    ) -> tuple[Array, Array | np.ndarray]:
        """The loss of every pixel, 0 where it is ignored, and where it is not."""
        self._check_shapes(outputs, labels)
        labelled = jnp.ones(labels.shape, bool)
        if self.ignore is not None:
            labelled = labels != self.ignore
        own = jnp.clip(labels, 0, self.num_classes - 1)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            outputs.astype(jnp.float32), own
        )
        losses = jnp.where(self._known(labels), losses, jnp.nan)
        return jnp.where(labelled, losses, 0), labelled

    def _known(self, labels: Array | np.ndarray) -> Array:
        return jnp.asarray((labels >= 0) & (labels < self.num_classes))

    def _check_shapes(
        self, outputs: Array | np.ndarray, labels: Array | np.ndarray
    ) -> None:
        if outputs.ndim != 4 or outputs.shape[-1] != self.num_classes:
            raise ValueError(
                "outputs of segmentation must have shape (batch, height, width,"
                f" {self.num_classes}), got {outputs.shape}"
            )
        if labels.shape != outputs.shape[:-1]:
            raise ValueError(
                f"labels of segmentation must have shape {outputs.shape[:-1]}, one for"
                f" every pixel of the outputs, got {labels.shape}"
            )


def segmentation(
    num_classes: int,
    *,
    ignore: int | None = None,
    class_weights: Sequence[Scalar] | ArrayLike | None = None,
) -> Segmentation:
    """One class for every pixel: cross-entropy, mean IoU and pixel accuracy.

    Outputs are logits, (batch, height, width, classes); labels are int32, (batch,
    height, width). The metrics are `mean_iou`, `pixel_accuracy` and `loss`, from a
    confusion matrix that is exact; the largest `mean_iou` is best.

    Args:
      num_classes: number of classes, at least 1; labels are in [0, num_classes).
      ignore: label of the pixels that count neither in the loss nor in the metrics; it
        may be one of the classes. None if every pixel counts.
      class_weights: weight of each class in the loss in training, at least 0; may be
        traced. It does not change the metrics.

    Raises:
      ValueError: `num_classes` is not positive, or `class_weights` are not one for each
        class, finite and at least 0, and one of them positive.

    >>> task = segmentation(2, ignore=255)
    >>> outputs, labels = jnp.eye(2)[None, None], jnp.array([[[0, 255]]])
    >>> task.summary(task.sums(outputs, labels))["pixel_accuracy"]
    1.0
    """
    checks.at_least("num_classes", num_classes, 1)
    if class_weights is not None:
        _check_weights(class_weights, num_classes)
    return Segmentation(int(num_classes), ignore, class_weights)


def _check_weights(weights: Any, num_classes: int) -> None:
    shape = np.shape(weights)
    if shape != (num_classes,):
        raise ValueError(
            f"class_weights must be {num_classes} numbers, one for each class, got"
            f" shape {shape}"
        )
    if any(is_traced(weight) for weight in jax.tree.leaves(weights)):
        return
    values = np.asarray(weights, np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError(
            "class_weights must be finite and at least 0, and one of them positive,"
            f" got {values.tolist()}"
        )


def _union(confusion: Any) -> Any:
    """By class: pixels that have the class, or are taken for it."""
    return confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
