"""Activation functions with a threshold, and thresholds from calibration maps."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax import trees
from dst_jax.activations.statistics import check_filled
from dst_jax.typing import Rules, is_traced

__all__ = ["fat_relu", "hard_threshold", "percentile_thresholds", "soft_threshold"]


def fat_relu(
    x: Float[Array, "*shape"], t: jax.typing.ArrayLike
) -> Float[Array, "*shape"]:
    """The forced-activation-threshold ReLU, which zeroes entries below `t`.

        x if x >= t and x > 0, else 0; NaN stays NaN

    The gradient is 1 where `x` is kept and 0 elsewhere; `t` has no gradient.

    Args:
      x: array (..., channels), before or after a ReLU: the result is the same.
      t: threshold >= 0, a number or one per channel (channels,), may be traced; 0 is
        the ReLU.

    Returns:
      An array like `x`.

    Raises:
      ValueError: `t` is negative or not finite.

    Reference:
      Kurtz et al. 2020 (PMLR 119:5533-5543).

    >>> fat_relu(jnp.array([-1.0, 0.1, 0.5]), 0.2).tolist()
    [0.0, 0.0, 0.5]
    """
    return jnp.where((x < _threshold(x, t)) | (x <= 0), 0, x)


def hard_threshold(
    x: Float[Array, "*shape"], t: jax.typing.ArrayLike
) -> Float[Array, "*shape"]:
    """Zeroes the entries of magnitude up to `t`, on maps of either sign.

        x if |x| > t, else 0; NaN stays NaN

    The gradient is 1 where `x` is kept and 0 elsewhere; `t` has no gradient.

    Args:
      x: array (..., channels).
      t: threshold >= 0, a number or one per channel (channels,), may be traced; 0
        changes nothing.

    Returns:
      An array like `x`.

    Raises:
      ValueError: `t` is negative or not finite.

    Reference:
      CATS (arXiv 2404.08763) and TEAL (arXiv 2408.14690), which do not train and take
      `percentile_thresholds`.

    >>> hard_threshold(jnp.array([-1.0, 0.1, 0.2]), 0.2).tolist()
    [-1.0, 0.0, 0.0]
    """
    return jnp.where(jnp.abs(x) <= _threshold(x, t), 0, x)


def soft_threshold(
    x: Float[Array, "*shape"], t: jax.typing.ArrayLike
) -> Float[Array, "*shape"]:
    """The proximal activation of l1, which moves entries towards 0 by up to `t`.

        sign(x) max(|x| - t, 0); NaN stays NaN

    After a ReLU it is `relu(x - t)`, the shifted ReLU.

    Args:
      x: array (..., channels).
      t: threshold >= 0, a number or one per channel (channels,), may be traced and
        trained: its gradient is `-sign(x)` where `x` is kept.

    Returns:
      An array like `x`.

    Raises:
      ValueError: `t` is negative or not finite.

    >>> soft_threshold(jnp.array([-1.0, 0.25, 1.5]), 0.5).tolist()
    [-0.5, 0.0, 1.0]
    """
    t = _threshold(x, t)
    return jnp.where(jnp.abs(x) <= t, 0, x - jnp.sign(x) * t)


def percentile_thresholds(
    activations: Mapping[str, Array], sparsity: float | Rules
) -> OrderedDict[str, Float[Array, ""]]:
    """The threshold for every map at which `hard_threshold` reaches a sparsity.

    It is the smallest magnitude `t` in the map such that at least `sparsity` of the
    entries have a magnitude `<= t`. On the calibration maps this is exact up to ties.

    Args:
      activations: calibration maps by name; all entries of a map are ranked together.
      sparsity: fraction to zero, in [0, 1): a number for all maps, or
        `[(regex, value), ...]` for the maps that a rule matches; the first match wins.

    Returns:
      Scalars in the maps' dtype by name; 0 where the sparsity is 0 or the map already
      has that many zeros.

    Raises:
      ValueError: a sparsity is out of range, a regex matches no map, or a map is empty
        or holds NaN.

    Reference:
      CATS (arXiv 2404.08763) and TEAL (arXiv 2408.14690).

    >>> maps = {"relu": jnp.array([[0.0, 3.0, 1.0, 2.0]])}
    >>> float(percentile_thresholds(maps, 0.5)["relu"])
    1.0
    """
    rules = sparsity if isinstance(sparsity, list | tuple) else [("", sparsity)]
    targets = trees.select(dict(activations), rules, default=None)
    return OrderedDict(
        (name, _percentile(name, x, targets[name]))
        for name, x in activations.items()
        if targets[name] is not None
    )


def _percentile(name: str, x: Array, sparsity: float) -> Float[Array, ""]:
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity of {name} must be in [0, 1), got {sparsity}")
    check_filled({name: x})
    if not is_traced(x) and np.isnan(np.asarray(x, np.float32)).any():
        raise ValueError(f"the map {name} holds NaN, which has no rank")
    rank = math.ceil(sparsity * x.size - 1e-9)  # 0.7 * 10 is a little over 7
    if rank == 0:
        return jnp.zeros((), x.dtype)
    return jnp.sort(jnp.abs(x), axis=None)[rank - 1]


def _threshold(x: Array, t: Any) -> Array:
    """`t` checked, in the dtype of `x` and with its rank."""
    # NumPy: inside a traced function, JAX would trace the check of a constant too.
    if not is_traced(t) and not ((np.asarray(t) >= 0) & np.isfinite(t)).all():
        raise ValueError(f"t must be finite and >= 0, got {t}")
    t = jnp.asarray(t, x.dtype)
    return t.reshape((1,) * (x.ndim - t.ndim) + t.shape)
