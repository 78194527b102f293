"""A task.

A task has `best`, `loss`, `sums` and `summary`; what else it may have is listed at
`train.tasks.Task`. A command is given a task, or a class or function that makes one,
whose parameters are the options.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo --task.name my_task:LeastSquares \\
    --task.options high=0.9
"""

import dataclasses
from types import MappingProxyType

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class LeastSquares:
    """Regression: output i is near `high` for images of class i, near 0 for others."""

    high: float = 1.0

    best = ("mse", "min")
    titles = MappingProxyType({"mse": "squared error", "within": "within 0.5"})
    shares = ("within",)
    measure = "error"

    def loss(self, outputs, labels):
        """The mean squared error of a batch."""
        return jnp.mean(self._errors(outputs, labels) ** 2)

    def sums(self, outputs, labels):
        """What adds up over batches: `examples` is added to it."""
        errors = self._errors(outputs, labels)
        return {
            "squares": (errors**2).mean(1).sum(),
            "within": (jnp.abs(errors).max(1) < 0.5).sum(dtype=jnp.int32),
        }

    def summary(self, sums):
        """The metrics of a whole set."""
        n = sums["examples"]
        return {"mse": float(sums["squares"] / n), "within": float(sums["within"] / n)}

    def _errors(self, outputs, labels):
        return outputs - self.high * jax.nn.one_hot(labels, outputs.shape[1])
