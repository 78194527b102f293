"""What the masks in an optimizer state look like, layer by layer."""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from dst_jax import trees
from dst_jax.pruning import packing
from dst_jax.pruning.held_masks import held, holders
from dst_jax.pruning.integer_shares import check_sizes
from dst_jax.pruning.protocol import SparseState

__all__ = ["channel_densities", "channel_statistics", "statistics"]


def statistics(opt_state: optax.OptState) -> dict[str, dict[str, Array]]:
    """Numbers about every layer's mask, as a pure function of the state.

    Args:
      opt_state: state of any chain whose last link holds a mask, as for `get_mask`.

    Returns:
      By layer (`block/kernel/0` is the first of a stack), scalars: `weights` and
      `active` (int32 counts), `density` (their ratio, float32); of a method, not of
      `apply_mask` alone, also `dropped` and `grown` by the last mask update (int32),
      `overlap` of the masks before and after it (Jaccard: their intersection over their
      union, float32), and with `track=True` the `exploration` rate, the weights that
      were ever active over all (float32).

    Raises:
      ValueError: `get_mask` refuses the state, or a layer has more than 2^31 - 1
        weights.

    Reference:
      Liu et al. 2021 (ITOP, arXiv 2102.02887), for the exploration rate.

    >>> from dst_jax.pruning.apply_mask import apply_mask
    >>> state = apply_mask({"w": jnp.array([True, False])}).init({"w": jnp.ones(2)})
    >>> {k: float(v) for k, v in statistics(state)["w"].items()}
    {'weights': 2.0, 'active': 1.0, 'density': 0.5}
    """
    mask, layout = held(opt_state)
    layers = layout.apart(mask)
    check_sizes(layers)
    found = {k: _of_mask(m) for k, m in trees.named_leaves(layers).items()}
    for state in holders(opt_state):
        if not isinstance(state, SparseState):
            continue
        dropped = trees.named_leaves(state.changes.dropped)
        grown = trees.named_leaves(state.changes.grown)
        for name in dropped:
            layer = found[name]
            layer["dropped"], layer["grown"] = dropped[name], grown[name]
            both = layer["active"] - grown[name]
            either = layer["active"] + dropped[name]
            layer["overlap"] = jnp.where(
                either == 0, 1.0, both / jnp.maximum(either, 1)
            )
        ever = state.held.layout.apart(packing.unpack(state.ever))
        for name, leaf in trees.named_leaves(ever).items():
            found[name]["exploration"] = _of_mask(leaf)["density"]
    return found


def channel_densities(opt_state: optax.OptState) -> dict[str, Array]:
    """The share of its weights that every channel keeps, by layer.

    Args:
      opt_state: state of any chain whose last link holds a mask, as for `get_mask`.

    Returns:
      By layer, `float32[outputs]`: a channel is an output of the layer.

    Raises:
      ValueError: as `statistics`.

    >>> from dst_jax.pruning.apply_mask import apply_mask
    >>> mask = {"w": jnp.array([[True, False], [True, True]])}
    >>> channel_densities(apply_mask(mask).init({"w": jnp.ones((2, 2))}))["w"].tolist()
    [1.0, 0.5]
    """
    mask, layout = held(opt_state)
    layers = trees.named_leaves(layout.apart(mask))
    return {k: _of_channels(m) * m.shape[-1] / m.size for k, m in layers.items()}


def channel_statistics(opt_state: optax.OptState) -> dict[str, dict[str, Array]]:
    """How many channels of every layer are sparser than its average, and empty.

    Args:
      opt_state: state of any chain whose last link holds a mask, as for `get_mask`.

    Returns:
      By layer, int32 counts: `channels`, its outputs; `sparser_channels`, those whose
      density is below the layer's; `empty_channels`, those without a weight.

    Raises:
      ValueError: as `statistics`.

    Reference:
      Yin et al. 2023 (Chase, arXiv 2305.19454): under dynamic sparse training up to
      60 % of the channels become sparser than the others.

    >>> from dst_jax.pruning.apply_mask import apply_mask
    >>> mask = {"w": jnp.array([[True, False], [True, True]])}
    >>> found = channel_statistics(apply_mask(mask).init({"w": jnp.ones((2, 2))}))
    >>> {k: int(n) for k, n in found["w"].items()}
    {'channels': 2, 'sparser_channels': 1, 'empty_channels': 0}
    """
    mask, layout = held(opt_state)
    layers = layout.apart(mask)
    check_sizes(layers)
    found = {}
    for name, layer in trees.named_leaves(layers).items():
        active = _of_channels(layer)
        # In integers: no channel holds more than the layer's size over their number.
        sparser = active * active.size < active.sum(dtype=jnp.int32)
        found[name] = {
            "channels": jnp.int32(active.size),
            "sparser_channels": sparser.sum(dtype=jnp.int32),
            "empty_channels": (active == 0).sum(dtype=jnp.int32),
        }
    return found


def _of_channels(mask: Any) -> Array:
    """The number of weights of every output."""
    return jnp.sum(mask, axis=tuple(range(mask.ndim - 1)), dtype=jnp.int32)


def _of_mask(mask: Any) -> dict[str, Array]:
    active = jnp.sum(mask, dtype=jnp.int32)
    weights = jnp.int32(mask.size)
    return {"weights": weights, "active": active, "density": active / weights}
