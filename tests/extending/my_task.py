"""A task: `--task.name my_task:Margin --task.options width=0.5`.

A task is a value with four members: the loss, sums that add up exactly over the batches
of a set, their summary, and which metric is best. Classes and functions that make one
are tasks by name, too; their parameters are options.
"""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Margin:
    """Two classes apart by a margin: the hinge loss."""

    width: float = 1.0

    titles = {"right": "right answers", "loss": "hinge"}  # noqa: RUF012
    shares = ("right",)
    best = ("right", "max")

    def _margins(self, outputs, labels):
        return (outputs[:, 1] - outputs[:, 0]) * (2 * labels - 1)

    def loss(self, outputs, labels):
        """The mean of what the margins lack."""
        return jnp.maximum(0, self.width - self._margins(outputs, labels)).mean()

    def sums(self, outputs, labels):
        """Right answers, and what the margins lack."""
        margins = self._margins(outputs, labels)
        lacking = jnp.maximum(0, self.width - margins)
        return {"right": (margins > 0).sum(dtype=jnp.int32), "loss": lacking.sum()}

    def summary(self, sums):
        """Both per example."""
        return {name: sums[name] / sums["examples"] for name in ("right", "loss")}
