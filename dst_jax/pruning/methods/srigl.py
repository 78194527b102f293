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
    `fan_in = floor(kept / active neurons)` weights, at most its inputs. An update drops
    the layer's smallest active weights; those that stay are salient, and so are the
    others with the largest gradients, as many as are dropped. A neuron with fewer than
    `ablation * fan_in` salient weights is removed for good, and the others share its
    weights. Each neuron keeps the largest that remain to it and grows by gradient up to
    `fan_in`.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1).
      end: first step without updates.
      output: regexes of the layers whose neurons all stay, such as the classifier,
        whose neurons are the classes; `()` = neurons of all layers may be removed.
      interval: steps between mask updates.
      drop_fraction: fraction of each layer's active weights that is dropped.
      decay: decay of the drop fraction, "cosine", "linear" or "constant".
      ablation: `gamma`, in [0, 1]; 0 removes no neuron.
      distribution: distribution of the weights between layers; not "global".

    Raises:
      ValueError: an option is out of range; at `init`, a layer has fewer weights to
        keep than neurons, or `output` matches no layer.

    Reference:
      Lasby et al. 2024 (SRigL, arXiv 2305.02299).

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
        stays = top_k(size, left, among=step.mask)
        others = jax.tree.map(jnp.logical_not, stays)
        grows = top_k(steep, drop, among=others)

        def layer(name: str, *leaves: Array) -> Array:
            gamma = 0.0 if any(re.search(p, name) for p in output) else ablation
            mask, *others = [x.reshape(-1, x.shape[-1]) for x in leaves]
            new = _per_neuron(mask, *others, budget=budget[name], gamma=gamma)
            return new.reshape(leaves[0].shape)

        new = trees.map_named(layer, step.mask, stays, grows, size, steep)
        return new, step.memory

    return Method(first, refresh, schedules.every(interval, end=end))


def _per_neuron(
    mask: Bool[Array, "inputs neurons"],
    stays: Bool[Array, "inputs neurons"],
    grows: Bool[Array, "inputs neurons"],
    size: Array,
    steep: Array,
    *,
    budget: KeptCount,
    gamma: Any,
) -> Bool[Array, "inputs neurons"]:
    """The new mask of a layer: which neurons stay, and the weights of each."""
    alive = mask.any(0)
    salient = (stays | grows).sum(0, dtype=jnp.int32)
    stay = alive & (salient >= gamma * mask.sum(0, dtype=jnp.int32).max())
    # A layer never dies: its most salient neuron stays in any case.
    best = jnp.where(alive, salient, -1).argmax()
    stay = stay | (jax.lax.iota(jnp.int32, stay.size) == best)
    fan_in = jnp.minimum(budget // stay.sum(dtype=jnp.int32), mask.shape[0])
    largest = trees.top_k_along(size, fan_in, axis=0, among=stays)
    steep = jnp.minimum(steep, jnp.finfo(jnp.float32).max)
    chosen = trees.top_k_along(jnp.where(largest, jnp.inf, steep), fan_in, axis=0)
    return chosen & stay[None]


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
