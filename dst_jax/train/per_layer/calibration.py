"""The examples that losses of options are measured on."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import checks, data
from dst_jax.train.context import Context

__all__ = ["Calibration", "calibration"]


class Calibration(NamedTuple):
    """Examples in batches of one size, so that a function of them compiles once.

    Attributes:
      images: preprocessed images, (batches, batch, ...).
      labels: their labels, (batches, batch, ...).
    """

    images: Array
    labels: Array


def calibration(
    context: Context, split: data.Split, *, examples: int = 512
) -> Calibration:
    """The first examples of a split, without augmentation.

    Args:
      context: the run's preprocessing and batch size.
      split: a split to choose on: training or hold-out examples, never the test set.
      examples: largest number of examples. What a whole number of batches leaves over
        is left out.

    Raises:
      ValueError: `examples` is below 1, or the split is the test set.

    >>> from dst_jax import models
    >>> from dst_jax.runs import Run
    >>> context = Context(
    ...     model=models.create("mlp", num_classes=10), dataset=data.load("digits"),
    ...     run=Run("runs/mlp"), batch_size=128, eval_batch_size=64)
    >>> calibration(context, context.dataset.train, examples=150).images.shape
    (2, 64, 16, 16, 1)
    """
    checks.at_least("examples", examples, 1)
    if split is context.dataset.test:
        raise ValueError(
            "split must be training or hold-out examples, got the test set"
        )
    size = min(context.eval_batch_size, examples, len(split))
    number = min(examples, len(split)) // size
    images, labels = [], []
    for batch in data.eval_batches(split, batch_size=size, threads=context.threads):
        if len(batch.label) == size:  # corrupt records make a batch smaller
            images.append(context.preprocess(jnp.asarray(batch.image)))
            labels.append(jnp.asarray(batch.label))
        if len(labels) == number:
            break
    if not labels:
        raise ValueError(f"split {split.name} has no whole batch of {size} examples")
    return Calibration(jnp.stack(images), jnp.stack(labels))
