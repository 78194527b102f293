"""Initial weights scaled to the number of inputs that a mask leaves."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import trees
from dst_jax.kernels import Kernel
from dst_jax.pruning.apply_mask import fit_mask
from dst_jax.pruning.layer_layout import layout_of
from dst_jax.typing import Mask, Params

__all__ = ["scale_to_fan_in"]


def scale_to_fan_in(
    params: Params, mask: Mask, *, kernels: Mapping[str, Kernel] | None = None
) -> Params:
    """Weights scaled up so that every unit's input has the variance of a dense one's.

        w -> w sqrt(fan_in / active inputs of the unit),  and 0 where pruned

    What He's initialisation with the fan-in was of a dense layer, variance
    `2 / fan_in`, is that of the sparse one: every unit has the fan-in that its own mask
    leaves. At 99.9 % a signal dies out within a few layers otherwise. Units without
    inputs, and leaves that are never pruned, stay as they are.

    Args:
      params: weights at initialisation.
      mask: mask of them, `None` where a leaf is never pruned.
      kernels: kernels of `params`, as in `masks.prunable`; None = by name.

    Raises:
      ValueError: the mask does not fit.

    Reference:
      Evci et al. 2022 (Gradient Flow in Sparse Neural Networks, arXiv 2010.03533); that
      it scales by each unit's fan-in is from the abstract.

    >>> params = {"kernel": jnp.ones((4, 2))}
    >>> mask = {"kernel": jnp.array([[1, 1], [0, 1], [0, 1], [0, 1]], bool)}
    >>> scale_to_fan_in(params, mask)["kernel"].tolist()
    [[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    fitting = fit_mask(mask, params)
    layout = layout_of(params, fitting, kernels)
    layers, kept = layout.apart(trees.only(fitting, params)), layout.apart(fitting)
    scaled = jax.tree.map(_scaled, layers, kept)
    return trees.merge(layout.together(scaled, fitting), params)


def _scaled(weights: Array, mask: Array) -> Array:
    """A layer (*window, inputs, outputs)."""
    inputs = tuple(range(weights.ndim - 1))
    fan_in = math.prod(weights.shape[:-1])
    active = jnp.maximum(mask.sum(inputs, dtype=jnp.int32, keepdims=True), 1)
    factor = jnp.sqrt(fan_in / active.astype(jnp.float32))
    return jnp.where(mask, (weights * factor).astype(weights.dtype), 0)
