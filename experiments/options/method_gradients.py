"""When a method of sparse training needs the gradients of pruned weights."""

import functools
import math
from collections.abc import Callable
from typing import Any

from experiments.options.methods import SparseMethod

__all__ = ["dense_gradients"]


def dense_gradients(
    method: SparseMethod, *, accumulate: int = 1
) -> Callable[..., bool]:
    """A function that says which steps of a stage need them, as `train.Stage` takes it.

    Args:
      method: the method of the stage.
      accumulate: batches of an update.

    >>> from experiments.options.methods import parse
    >>> needed = dense_gradients(parse("rigl", ["interval=5"], target=0.9))
    >>> [i for i in range(1, 21) if needed(i, steps=20, steps_per_epoch=20)]
    [5, 10, 15]
    """

    @functools.cache
    def options(steps: int, steps_per_epoch: int) -> dict[str, Any]:
        found = method.resolved(
            updates=max(steps // accumulate, 1), per_epoch=steps_per_epoch / accumulate
        )
        if "prox" in found:
            found["step_size"] = 0  # known to the stage alone, and no matter here
        return found

    def needed(step: int, *, steps: int, steps_per_epoch: int) -> bool:
        update = math.ceil(step / accumulate)
        every = method.description.dense_gradient_every(
            update, **options(steps, steps_per_epoch)
        )
        return every is not None and update % every == 0

    return needed
