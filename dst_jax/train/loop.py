"""The loop over steps. It knows nothing of stages, files or models."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from dst_jax.train.finite import NonFiniteLoss
from dst_jax.train.interrupt import Interrupted
from dst_jax.train.objective import Objective
from dst_jax.train.state import TrainState
from dst_jax.train.step import TrainStep

__all__ = ["Interval", "fit"]


class Interval(NamedTuple):
    """What happened since the loop last read the metrics."""

    step: int
    metrics: dict[str, float]
    """Means over the interval's steps."""
    steps: int
    seconds: float
    waiting: float
    """Seconds in which the device stood still for want of data (an upper bound)."""


def fit(
    state: TrainState,
    batches: Iterator[Any],
    *,
    train_step: TrainStep,
    objective: Objective,
    put: Callable[[Any], Any],
    steps: int,
    log: Callable[[int], bool],
    save: Callable[[int], bool],
    on_log: Callable[[Interval, TrainState], None],
    on_save: Callable[[TrainState, int], object],
    stop: Callable[[int], bool],
    on_step: Callable[[TrainState, Any], object] = lambda state, batch: None,
) -> TrainState:
    """Trains from `state.step` to `steps`.

    Losses are read from the device only when `log` says so; every one of them is
    checked then, and always before `on_save`, so that no checkpoint can hold a state
    that came after a non-finite loss.

    Args:
      state: the state to start from; it is donated.
      batches: host batches, without an end.
      train_step: a step from `make_train_step`.
      objective: the objective, passed to every step.
      put: a function from a host batch to device arrays.
      steps: the step to end at.
      log: whether to read the metrics after a step; `on_log` gets their means and the
        state, which the next step donates.
      save: whether to call `on_save` (evaluation, checkpoints) after a step; it is
        always called after the last.
      on_log: what to do with an interval of metrics.
      on_save: what to do with a state.
      stop: whether to end after a step; asked after every one. The state is saved then.
      on_step: what to do with the state and the batch of a step that is about to be
        taken, which donates the state.

    Returns:
      The state after the last step.

    Raises:
      NonFiniteLoss: with the first step whose loss was not finite.
      Interrupted: `stop` said so; the state is saved.

    >>> import jax.numpy as jnp
    >>> def step(state, batch, objective):
    ...     new = state.replace(step=state.step + 1, params=state.params + batch)
    ...     return new, {"loss": jnp.float32(0)}
    >>> start = TrainState(step=0, params=0, model_state={}, opt_state=(), key=None)
    >>> end = fit(
    ...     start, iter([1, 2, 3]), train_step=step, objective=Objective(), steps=2,
    ...     put=lambda batch: batch, log=lambda step: False, save=lambda step: False,
    ...     on_log=lambda interval, state: None, on_save=lambda state, step: None,
    ...     stop=lambda step: False)
    >>> end.step, end.params
    (2, 3)
    """
    step = int(state.step)
    meter = _Meter()
    while step < steps:
        batch = put(meter.fetch(batches))
        on_step(state, batch)
        state, metrics = train_step(state, batch, objective)
        step += 1
        meter.add(step, metrics)
        stopping = stop(step)
        saving = stopping or step == steps or save(step)
        if saving or log(step):
            on_log(meter.read(), state)
        if saving:
            on_save(state, step)
            meter.restart()
        if stopping and step < steps:
            raise Interrupted(f"interrupted at step {step}")
    return state


class _Meter:
    """Times steps and keeps their metrics on the device until they are read."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, dict[str, Any]]] = []
        self._compiled = False
        self.restart()

    def restart(self) -> None:
        self._since = time.perf_counter()
        self._waiting = 0.0
        self._timed_steps = 0

    def fetch(self, batches: Iterator[Any]) -> Any:
        before = time.perf_counter()
        batch = next(batches)
        took = time.perf_counter() - before
        # The device stood still only if it had finished all it was given.
        if self._compiled and (not self._pending or _is_ready(self._pending[-1][1])):
            self._waiting += took
        return batch

    def add(self, step: int, metrics: dict[str, Any]) -> None:
        self._pending.append((step, metrics))
        self._timed_steps += 1
        if not self._compiled:  # the first step compiles: not part of the throughput
            jax.block_until_ready(metrics)
            self._compiled = True
            self.restart()
        elif len(self._pending) > 1:  # two steps in flight are enough
            jax.block_until_ready(self._pending[-2][1])

    def read(self) -> Interval:
        values = jax.device_get([metrics for _, metrics in self._pending])
        for (step, _), metrics in zip(self._pending, values, strict=True):
            if not math.isfinite(metrics["loss"]):
                raise NonFiniteLoss(step, float(metrics["loss"]))
        means = {
            name: float(sum(m[name] for m in values) / len(values))
            for name in (values[0] if values else {})
        }
        last = self._pending[-1][0]
        seconds = time.perf_counter() - self._since
        interval = Interval(last, means, self._timed_steps, seconds, self._waiting)
        self._pending.clear()
        self.restart()
        return interval


def _is_ready(metrics: dict[str, Any]) -> bool:
    return all(x.is_ready() for x in metrics.values())
