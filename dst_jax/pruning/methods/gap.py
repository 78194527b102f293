"""GaP: scheduled grow-and-prune, with one part of the network dense at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import checks, trees
from dst_jax.kernels import Kernel
from dst_jax.pruning import schedules, scores
from dst_jax.pruning.apply_mask import fit_mask
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.layer_layout import layout_of
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.selection import JOINT, KeptCounts
from dst_jax.pruning.structures import select
from dst_jax.typing import Mask, Params, Rules

__all__ = ["gap", "gap_copies", "gap_merge"]

Partitions = int | Rules
"""The number of parts, in path order, or `[(regex, part), ...]` with parts from 0."""


@method(lengths={"interval": 0.2})
def gap(
    *,
    sparsity: Any,
    interval: Any,
    partitions: Partitions = 4,
    rounds: Any = 1,
    distribution: str | Distribution = "uniform",
) -> Method:
    """S-GaP: trains one part of the network densely at a time, the others sparsely.

    In phase i of `interval` steps part `i mod parts` is dense and the others sparse;
    then it is pruned by magnitude and the next part grows. After `rounds` turns of all
    parts the whole network is sparse, and training goes on with that mask.

    Args:
      sparsity: sparsity of the sparse parts, in [0, 1).
      interval: steps of a phase.
      partitions: number of parts, of about as many layers each, or
        `[(regex, part), ...]`.
      rounds: number of turns of every part.
      distribution: distribution of the weights between layers; not "global".

    Reference:
      Ma et al. 2022 (GaP, arXiv 2106.09857).

    >>> import optax
    >>> tx = gap(optax.sgd(0.1), sparsity=0.9, interval=20_000, rounds=2)
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("rounds", rounds, 1)
    parts = _number(partitions)
    end = rounds * parts * interval
    share_out = by_name(distribution)

    def kept(params: Params) -> KeptCounts:
        shapes = {k: w.shape for k, w in trees.named_leaves(params).items()}
        shared = share_out(shapes, sparsity)
        if JOINT in shared:
            raise ValueError(
                "distribution must give every layer its number, got global"
            )
        return shared

    def first(params: Params, key: jax.Array) -> Mask:
        values = scores.random(params, key=key)
        sparse = select(values, kept(params))
        return _dense_part(sparse, jnp.int32(0), partitions)

    def refresh(step: Step) -> tuple[Mask, Any]:
        size = scores.magnitude(step.params)
        pruned = select(size, kept(step.params), among=step.mask)
        part = jnp.where(step.step < end, step.step // interval % parts, parts)
        return _dense_part(pruned, part, partitions), step.memory

    return Method(first, refresh, schedules.every(interval, end=end, at_end=True))


def gap_copies(
    params: Params,
    mask: Mask,
    partitions: Partitions,
    *,
    kernels: Mapping[str, Kernel] | None = None,
) -> tuple[Params, Mask]:
    """P-GaP: a copy of the network for every part, with that part dense.

    Train the copies side by side with `jax.vmap` over the leading axis of parameters,
    masks and optimizer state, each on data of its own, then `gap_merge` them and prune.

    Args:
      params: parameters of the sparse network.
      mask: mask of the sparse network.
      partitions: parts as in `gap`.
      kernels: kernels of `params`, as in `masks.prunable`: the layers of a stack may be
        in different parts.

    Returns:
      Parameters and masks with a leading axis, one entry per part.

    Raises:
      ValueError: there are more parts than layers, or a layer has no part.

    >>> params = {"a": jnp.ones((1, 2)), "b": jnp.ones((1, 2))}
    >>> mask = jax.tree.map(lambda w: jnp.array([[True, False]]), params)
    >>> _, masks = gap_copies(params, mask, 2)
    >>> masks["a"].tolist()
    [[[True, True]], [[True, False]]]
    """
    fitting = fit_mask(mask, params)
    layout = layout_of(params, fitting, kernels)
    layers = layout.apart(fitting)
    masks = [
        layout.together(_dense_part(layers, jnp.int32(i), partitions), fitting)
        for i in range(_number(partitions))
    ]
    copies = jax.tree.map(lambda w: jnp.broadcast_to(w, (len(masks), *w.shape)), params)
    return copies, jax.tree.map(lambda *m: jnp.stack(m), *masks)


def gap_merge(
    copies: Params,
    mask: Mask,
    partitions: Partitions,
    *,
    kernels: Mapping[str, Kernel] | None = None,
) -> Params:
    """P-GaP: each part from the copy in which it was dense; all else averaged.

    Args:
      copies: parameters with a leading axis, as trained.
      mask: mask of one network; leaves that are `None` belong to no part.
      partitions: parts as in `gap`.
      kernels: kernels of the parameters, as in `gap_copies`.

    Raises:
      ValueError: as in `gap_copies`.

    >>> copies = {"a": jnp.array([[1.0], [2.0]]), "b": jnp.array([[3.0], [4.0]])}
    >>> mask = {"a": jnp.ones(1, bool), "b": jnp.ones(1, bool)}
    >>> merged = gap_merge(copies, mask, 2)
    >>> merged["a"].tolist(), merged["b"].tolist()
    ([1.0], [4.0])
    """
    number = _number(partitions)
    each = [jax.tree.map(lambda w: w[i], copies) for i in range(number)]  # noqa: B023
    fitting = fit_mask(mask, each[0])
    layout = layout_of(each[0], fitting, kernels)
    part_of = _parts(layout.apart(fitting), partitions)
    merged = trees.map_named(
        lambda name, *layers: layers[part_of[name]] if name in part_of else layers[0],
        *map(layout.apart, each),
    )
    whole = layout.together(merged, each[0])
    average = jax.tree.map(lambda w: w.mean(0), copies)
    return trees.merge(trees.only(fitting, whole), average)


def _number(partitions: Partitions) -> int:
    if isinstance(partitions, int):
        checks.at_least("partitions", partitions, 1)
        return partitions
    parts = {part for _, part in partitions}
    if parts != set(range(len(parts))) or not parts:
        raise ValueError(f"partitions must be numbered from 0, got {sorted(parts)}")
    return len(parts)


def _parts(mask: Mask, partitions: Partitions) -> dict[str, int]:
    """The part that every prunable layer belongs to."""
    names = list(trees.named_leaves(mask))
    if isinstance(partitions, int):
        if partitions > len(names):
            raise ValueError(
                f"partitions must be at most the {len(names)} layers, got {partitions}"
            )
        groups: Sequence[Any] = np.array_split(np.array(names), partitions)
        return {str(name): i for i, group in enumerate(groups) for name in group}
    chosen = trees.named_leaves(trees.select(mask, partitions, default=-1))
    homeless = [name for name, part in chosen.items() if part < 0]
    if homeless:
        raise ValueError(f"partitions must place every layer, not {homeless}")
    return chosen


def _dense_part(mask: Mask, part: jax.Array, partitions: Partitions) -> Mask:
    part_of = _parts(mask, partitions)
    return trees.map_named(lambda name, m: m | (part_of[name] == part), mask)
