"""EAST's dynamic sparse training: densities in cycles, then RigL-ITOP."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dst_jax import checks, trees
from dst_jax.pruning import flops, schedules, scores, updates
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import erk
from dst_jax.pruning.integer_shares import lift
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.set_aside import Kept
from dst_jax.pruning.structures import select
from dst_jax.typing import Mask, Params, concrete, is_traced

__all__ = ["east", "layer_counts"]


def _dense_gradient_every(
    step: float,
    *,
    interval: int,
    end: float,
    period: float,
    cycles: int = 2,
    growth: float = 1.0,
    cycle_interval: int | None = None,
    **others: Any,
) -> int | None:
    """The interval of the updates at a step, in the cycles or after them."""
    del others
    in_cycles = step <= sum(period * growth**i for i in range(cycles))
    if in_cycles and cycle_interval is not None:
        interval = cycle_interval
    return flops.at_updates(step, interval=interval, end=end)


@method(
    lengths={"end": 1.0, "interval": 0.02, "period": 0.2},
    ends=["end"],
    dense_gradients=_dense_gradient_every,
)
def east(
    *,
    sparsity: Any,
    interval: Any,
    end: Any,
    period: Any,
    cycles: Any = 2,
    relaxation: Any = 3.0,
    wave: str = "cosine",
    growth: Any = 1.0,
    layer_floor: Any = 0.0,
    cycle_interval: Any = None,
    drop_fraction: Any = 0.5,
    final_fraction: Any = 0.005,
) -> Method:
    """EAST: relaxes the density and restores it, in cycles; then RigL-ITOP.

        density(t) = d (1 + (relaxation - 1) f(t)),   d = 1 - sparsity

    with `f` from 0 to 1 and back in every cycle, as in `schedules.cyclic`. An update
    during the cycles brings every layer to its Erdos-Renyi-Kernel share of that
    density: a layer with too many weights keeps the largest, one with too few grows
    those with the largest gradients. At the end of the last cycle, which is always an
    update, the budget `round(d * weights)` is met; from then on a layer drops its
    smallest weights at an update and grows as many by gradient, as in `rigl_itop`.

    No layer is empty as long as the budget has a weight for each: what a layer gets in
    excess of its share comes from the others, so that the budget stays exact. The other
    parts of EAST are not masks: `activations.DyReLU` and `parametrisations.shared`,
    whose `adjusted_density` is the density of what is trained.

    The authors' code counts shared weights once for every use where it compares
    densities; here a density is always active weights over all weights that are
    trained. Of its ERK shares the code clips those above 1 and below a floor and lets
    the sum change; here they are redistributed.

    Args:
      sparsity: target sparsity, in [0, 1).
      interval: steps between updates; the authors' is 4000 after the cycles.
      end: steps of the whole training, and first step without updates.
      period: steps of the first cycle; the authors' is 50 epochs.
      cycles: number of cycles; 0 is RigL-ITOP alone.
      relaxation: largest density over the target's, at least 1.
      wave: form of the cycles, "cosine" or "triangular".
      growth: length of each cycle over that of the one before.
      layer_floor: smallest density of a layer, in [0, 1 - sparsity].
      cycle_interval: steps between updates during the cycles, where the authors' is
        100; None = `interval`.
      drop_fraction: fraction of a layer's active weights dropped at step 0, which falls
        along a cosine; nothing is dropped so during the cycles.
      final_fraction: fraction at `end`.

    Raises:
      ValueError: an option is out of range, or the last cycle is not over at `end`.

    Reference:
      EAST: Li et al. 2024 (openreview.net/forum?id=XX9JdOJD8R), from the authors' code
      (TensorStrike/ES2), whose defaults these are.

    >>> import optax
    >>> tx = east(
    ...     optax.sgd(0.1), sparsity=0.999, interval=4000, end=88_000, period=17_600)
    """
    checks.fraction("sparsity", sparsity)
    checks.share("layer_floor", layer_floor)
    if cycle_interval is not None:
        checks.at_least("cycle_interval", cycle_interval, 1)
    inside = interval if cycle_interval is None else cycle_interval
    in_cycles = schedules.every(inside)
    afterwards = schedules.every(interval, end=end)
    fraction = schedules.decay("cosine", drop_fraction, final_fraction, end=end)
    if not is_traced(cycles) and concrete(cycles) == 0:
        plan = _Densities(sparsity, layer_floor)
    else:
        own = {"period": period, "cycles": cycles, "growth": growth}
        shape = {"relaxation": relaxation, "wave": wave}
        target = schedules.cyclic(sparsity, **own, **shape)
        over = partial(schedules.cyclic_end, **own)
        plan = _Densities(sparsity, layer_floor, target, over)
        _check_end(**own, end=end)

    def due(step: Any) -> Any:
        last = plan.last()
        regular = jnp.where(step < last, in_cycles(step), afterwards(step))
        return (regular & (step < end)) | ((step == last) & (step <= end))

    def first(params: Params, key: jax.Array) -> Mask:
        kept = layer_counts(params, sparsity, layer_floor=layer_floor)
        return select(scores.random(params, key=key), kept)

    def refresh(step: Step) -> tuple[Mask, Any]:
        wanted = plan.counts(step.params, step.step)
        active = updates.active(step.mask, wanted)
        share = jnp.where(step.step <= plan.last(), 0, fraction(step.step))
        kept = {k: jnp.minimum(n, active[k]) for k, n in wanted.items()}
        kept = {k: n - updates.ceiling(share, n) for k, n in kept.items()}
        remaining = select(scores.magnitude(step.params), kept, among=step.mask)
        steep = scores.gradient(step.params, grads=step.grads)
        return updates.grow(steep, remaining, wanted), step.memory

    return Method(first, refresh, due)


@dataclass(frozen=True)
class _Densities:
    """The numbers of weights over the steps; without cycles they are constant."""

    sparsity: Any
    layer_floor: Any
    target: optax.Schedule | None = None
    over: Callable[[], Any] | None = None

    def last(self) -> Any:
        """The first step after the cycles."""
        if self.over is None:
            return 0
        return jnp.ceil(self.over()).astype(jnp.int32)

    def counts(self, layers: Params, step: Any) -> Kept:
        """Numbers at a step; between the cycles and after them the exact budget."""
        count = partial(layer_counts, layers, layer_floor=self.layer_floor)
        rest = count(self.sparsity)
        if self.target is None:
            return rest
        now = self.target(step)
        resting = now >= jnp.asarray(self.sparsity, jnp.float32)
        return {k: jnp.where(resting, rest[k], n) for k, n in count(now).items()}


def _check_end(*, period: Any, cycles: Any, growth: Any, end: Any) -> None:
    """Refuses cycles that are not over at the end."""
    values = (period, cycles, growth, end)
    if any(map(is_traced, values)):
        return
    period, cycles, growth, end = map(concrete, values)
    over = math.ceil(sum(period * growth**i for i in range(int(cycles))) - 1e-6)
    if over > end:
        raise ValueError(
            f"end must be at least {over}, where the last of {cycles} cycles ends, got"
            f" {end}"
        )


def layer_counts(layers: Params, sparsity: Any, *, layer_floor: Any = 0.0) -> Kept:
    """The number of weights of every layer, at least 1 where there are enough.

    Args:
      layers: prunable layers; shapes will do.
      sparsity: sparsity of all layers together, in [0, 1]; may be traced.
      layer_floor: smallest density of a layer, in [0, 1 - sparsity].

    Raises:
      ValueError: `layer_floor` leaves too few weights for the others.

    >>> layers = {"stem": jnp.ones((2, 2)), "wide": jnp.ones((100, 100))}
    >>> layer_counts(layers, 0.999)
    {'stem': 1, 'wide': 9}
    """
    shapes = {k: w.shape for k, w in trees.named_leaves(layers).items()}
    sizes = np.array([math.prod(shape) for shape in shapes.values()])
    least: Any = np.minimum(sizes, 1)
    if isinstance(layer_floor, jax.Array):  # may be traced
        least = jnp.maximum(least, updates.ceiling(layer_floor, jnp.asarray(sizes)))
        layer_floor = 0.0
    kept = erk(shapes, sparsity, layer_floor=layer_floor)
    if any(isinstance(n, jax.Array) for n in (*kept.values(), least)):
        shares = jnp.stack([jnp.asarray(n, jnp.int32) for n in kept.values()])
        return dict(zip(kept, lift(shares, least), strict=True))
    shares = lift(np.array([*kept.values()]), least)
    return {k: int(n) for k, n in zip(kept, shares, strict=True)}
