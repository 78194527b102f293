"""A ledger of training: the multiplications of its steps, written as it goes.

What a step multiplies follows from its weights, its activations and its gradients.
Masks are looked at before every step, so that sums over them are exact; a whole step is
counted every so many. Neither is part of the jitted step.
"""

from typing import Any

import jax
import optax

from dst_jax import pruning, trees
from dst_jax.runs import log_ledger
from dst_jax.train.context import Context
from dst_jax.train.objective import Objective
from dst_jax.train.stage import Stage
from dst_jax.train.state import TrainState, has_method, is_masked
from dst_jax.train.step import CountedStep

__all__ = ["Ledger"]


class Ledger:
    """Writes the ledger of one stage.

    Args:
      context: the run's; `ledger_every` says how often a step is counted.
      stage: the stage that is trained.
      step: number of steps that are done.
      steps: number of steps in the stage.
      counted_step: what counts a step.
      objective: the stage's objective.
    """

    def __init__(
        self,
        context: Context,
        stage: Stage,
        *,
        step: int,
        steps: int,
        counted_step: CountedStep,
        objective: Objective,
    ):
        self._context = context
        self._stage = stage
        self._step = step
        self._steps = steps
        self._counted_step = counted_step
        self._objective = objective
        self._kept: list[dict[str, Any]] = []
        self._dense_gradients = 0

    def before_step(self, state: TrainState, batch: Any) -> None:
        """Takes down what the next step will multiply.

        Args:
          state: state before the step.
          batch: batch of the step, on the device.
        """
        self._step += 1
        self._kept.append(self._weights(state.opt_state))
        self._dense_gradients += self._needs_dense_gradients(state.opt_state)
        if (self._step - 1) % self._context.ledger_every:
            return
        counts = jax.device_get(self._counted_step(state, batch, self._objective))
        self._log(
            "step",
            examples=self._context.batch_size,
            weights=_added(self._kept[-1:]),
            layers=counts.as_dict(),
        )

    def close_interval(self) -> None:
        """Writes what was taken down since the last interval."""
        if self._kept:
            self._log(
                "interval",
                steps=len(self._kept),
                dense_gradients=self._dense_gradients,
                weights=_added(self._kept),
            )
        self._kept, self._dense_gradients = [], 0

    def _weights(self, opt_state: optax.OptState) -> dict[str, Any]:
        """The kept weights of every leaf with a mask, still on the device."""
        if not is_masked(opt_state):
            return {}
        if self._kept and not has_method(opt_state):
            return self._kept[-1]  # a mask that nothing changes
        jitted = self._context.once(
            "kept weights",
            lambda: jax.jit(_kept, out_shardings=self._context.sharding),
        )
        return jitted(opt_state)

    def _needs_dense_gradients(self, opt_state: optax.OptState) -> bool:
        if self._stage.dense_gradients is None:
            return pruning.keeps_dense(opt_state)
        return self._stage.dense_gradients(
            self._step,
            steps=self._steps,
            steps_per_epoch=self._context.steps_per_epoch,
        )

    def _log(self, kind: str, **record: Any) -> None:
        place = {
            "stage": self._stage.name,
            "phase": self._stage.phase,
            "step": self._step,
            "epoch": self._step / self._context.steps_per_epoch,
        }
        log_ledger(self._context.run, {"kind": kind, **place, **record})


def _kept(opt_state: optax.OptState) -> dict[str, jax.Array]:
    mask = trees.named_leaves(pruning.get_mask(opt_state))
    return {name: leaf.sum(dtype="int32") for name, leaf in mask.items()}


def _added(kept: list[dict[str, Any]]) -> dict[str, int]:
    """The sums over steps, in Python integers."""
    on_host = jax.device_get(kept)
    return {
        name: sum(int(step[name]) for step in on_host)
        for name in (on_host[0] if on_host else {})
    }
