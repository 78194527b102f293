"""SRigL: RigL with a constant fan-in, which also removes neurons."""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from dst_jax import checks, trees
from dst_jax.pruning import flops, schedules, scores, updates
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.selection import JOINT, KeptCount, KeptCounts, top_k
from dst_jax.pruning.structures import constant_fan_in, select
from dst_jax.typing import Mask, Params

__all__ = ["srigl"]


@method(
    lengths={"end": 0.75, "interval": 0.02},
    ends=["end"],
    dense_gradients=flops.at_updates,
)
def srigl(
    *,
    sparsity: Any,
    end: Any,
    output: Sequence[str],
    interval: Any = 100,
    drop_fraction: Any = 0.3,
    decay: str = "cosine",
    ablation: Any = 0.3,
    distribution: str | Distribution = "erk",
) -> Method:
    """SRigL: RigL with constant fan-in, which removes neurons with few salient weights.

    A neuron is an output of a layer. Every active neuron of a layer has
    `fan_in = floor(kept / active neurons)` weights, at most its inputs. Salient are the
    layer's largest active weights, all but the share that is dropped, and as many
    weights as are dropped with the largest gradients; the two may overlap. A neuron
    with fewer than `max(1, floor(ablation * fan_in))` of them is ablated, where
    `fan_in` is that of a layer without ablated neurons: its weights are pruned, and the
    others share them. All neurons are counted again at every update, so that an ablated
    one may return. Where too few neurons would stay to hold the active weights, the
    threshold falls to the number of the next neuron. Each neuron keeps the largest of
    the weights that the layer keeps and grows by gradient up to `fan_in`.

    This is the authors' code with `use_sparse_const_fan_in_for_ablation`; without it
    `ablation` is a fraction of the inputs. In three points it is not: the largest of a
    neuron's surplus weights stay, where the code leaves the choice to a sort of
    booleans; only active weights are kept, where the code fills up with pruned ones;
    and no step of the optimizer is lost. The code also scales initial weights to the
    fan-in, which is up to the parameters here.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1).
      end: first step without updates.
      output: regexes of the layers whose neurons all stay, such as the classifier,
        whose neurons are the classes; `()` = neurons of all layers may be removed.
      interval: steps between mask updates.
      drop_fraction: fraction of each layer's active weights that is dropped.
      decay: decay of the drop fraction, "cosine", "linear" or "constant".
      ablation: `gamma`, in [0, 1]; 0 ablates no neuron.
      distribution: distribution of the weights between layers; not "global".

    Raises:
      ValueError: an option is out of range; at `init`, a layer has fewer weights to
        keep than neurons, or `output` matches no layer.

    Reference:
      Lasby et al. 2024 (SRigL, arXiv 2305.02299), and their code
      (calgaryml/condensed-sparsity, rigl_torch/rigl_constant_fan.py).

    >>> import optax
    >>> tx = srigl(optax.sgd(0.1), sparsity=0.9, end=75_000, output=["fc"])
    """
    checks.fraction("sparsity", sparsity)
    checks.share("ablation", ablation)
    fraction = schedules.decay(decay, drop_fraction, end=end)
    share_out = by_name(distribution)

    def kept(params: Params) -> dict[str, Any]:
        shapes = {k: w.shape for k, w in trees.named_leaves(params).items()}
        shared = share_out(shapes, sparsity)
        _check_layers(shared, shapes, output)
        return shared

    def first(params: Params, key: jax.Array) -> Mask:
        values = scores.random(params, key=key)
        return select(values, kept(params), constant_fan_in())

    def refresh(step: Step) -> tuple[Mask, Any]:
        budget, names = kept(step.params), trees.named_leaves(step.mask)
        size = scores.magnitude(step.params)
        steep = scores.gradient(step.params, grads=step.grads)
        before = updates.active(step.mask, names)
        drop = {k: updates.floor(fraction(step.step), n) for k, n in before.items()}
        left = {k: before[k] - drop[k] for k in before}
        salient = jax.tree.map(
            jnp.logical_or, top_k(size, left, among=step.mask), top_k(steep, drop)
        )

        def surviving(name: str, mask: Array, salient: Array) -> Array:
            gamma = 0.0 if any(re.search(p, name) for p in output) else ablation
            return _surviving(mask, salient, budget=budget[name], gamma=gamma)

        survive = trees.map_named(surviving, step.mask, salient)
        alive = jax.tree.map(jnp.logical_and, step.mask, survive)
        stays = top_k(size, left, among=alive)

        def filled(name: str, *leaves: Array) -> Array:
            return _filled(*leaves, budget=budget[name])

        return trees.map_named(filled, survive, stays, size, steep), step.memory

    return Method(first, refresh, schedules.every(interval, end=end))


def _surviving(
    mask: Bool[Array, "*inputs neurons"],
    salient: Bool[Array, "*inputs neurons"],
    *,
    budget: KeptCount,
    gamma: Any,
) -> Bool[Array, "*inputs neurons"]:
    """All weights of the neurons of a layer that are not ablated."""
    neurons = mask.shape[-1]
    inputs = mask.size // max(neurons, 1)
    counts = salient.reshape(-1, neurons).sum(0, dtype=jnp.int32)
    least = jnp.maximum(updates.floor(gamma, budget // neurons), 1)
    # So many full neurons hold the active weights: one more than that always stays.
    full = -(-mask.sum(dtype=jnp.int32) // inputs)
    best = trees.top_k_along(counts.astype(jnp.float32), full + 1, axis=0)
    next_best = jnp.where(best, counts, inputs).min()
    stay = (counts >= jnp.minimum(least, next_best)) | (jnp.asarray(gamma) == 0)
    return jnp.broadcast_to(stay, mask.shape)


def _filled(
    survive: Bool[Array, "*inputs neurons"],
    stays: Bool[Array, "*inputs neurons"],
    size: Array,
    steep: Array,
    *,
    budget: KeptCount,
) -> Bool[Array, "*inputs neurons"]:
    """The new mask of a layer: every surviving neuron with the same fan-in."""
    alive, kept, sizes, slopes = (
        x.reshape(-1, x.shape[-1]) for x in (survive, stays, size, steep)
    )
    fan_in = jnp.minimum(budget // alive[0].sum(dtype=jnp.int32), len(alive))
    largest = trees.top_k_along(sizes, fan_in, axis=0, among=kept)
    slopes = jnp.minimum(slopes, jnp.finfo(jnp.float32).max)
    chosen = trees.top_k_along(jnp.where(largest, jnp.inf, slopes), fan_in, axis=0)
    return (chosen & alive).reshape(stays.shape)


def _check_layers(
    kept: KeptCounts, shapes: dict[str, tuple[int, ...]], output: Sequence[str]
) -> None:
    if JOINT in kept:
        raise ValueError("distribution must give every layer its number, got global")
    for pattern in output:
        if not any(re.search(pattern, name) for name in shapes):
            raise ValueError(f"output {pattern!r} matches none of: {', '.join(shapes)}")
    for name, n in kept.items():
        neurons, size = shapes[name][-1], math.prod(shapes[name])
        if isinstance(n, int) and n < neurons:
            raise ValueError(
                f"{name} would keep {n} of {size} weights for {neurons} neurons: lower"
                " the sparsity or exclude the layer by rules"
            )
