"""Scores from activation maps."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dst_jax.channels.groups import Groups
from dst_jax.kernels.unit_sums import Scores, along, segments, summed
from dst_jax.typing import Params

__all__ = ["apoz", "wanda"]


def apoz(params: Params, groups: Groups, *, activations: Mapping[str, Array]) -> Scores:
    """Share of a unit's activations that are not 0.

    Args:
      params: not read; every score takes it.
      groups: from `channels.groups(fn, has_aux=True)`, where `fn` returns the maps.
      activations: maps (batch, ...) by the name that they have in the auxiliary output.

    Raises:
      ValueError: a group has no map.

    Reference:
      Hu et al. 2016 (network trimming, arXiv 1607.03250): 1 minus the average
      percentage of zeros.

    >>> import jax
    >>> from dst_jax import channels
    >>> def net(w, x):
    ...     h = jax.nn.relu(x @ w["a"])
    ...     return h @ w["b"], {"relu": h}
    >>> w, x = {"a": jnp.array([[1.0, -1.0]]), "b": jnp.ones((2, 1))}, jnp.ones((4, 1))
    >>> found = channels.groups(net, has_aux=True)(w, x)
    >>> apoz(w, found, activations=net(w, x)[1])["a"].tolist()
    [1.0, 0.0]
    """
    del params
    return _of_maps(groups, activations, lambda x: (x != 0).astype(jnp.float32))


def wanda(
    params: Params, groups: Groups, *, activations: Mapping[str, Array]
) -> Scores:
    """`sum |w|` of the kernels that read a unit, times the norm of its activations.

    Args:
      params: pytree of arrays.
      groups: from `channels.groups(fn, has_aux=True)`, where `fn` returns the maps.
      activations: maps (batch, ...) by the name that they have in the auxiliary output.

    Raises:
      ValueError: a group has no map, or nothing reads it.

    Reference:
      Sun et al. 2024 (Wanda, arXiv 2306.11695), equation 1, summed over what a unit is
      read by. The norm is the root of the mean square here.

    >>> import jax
    >>> from dst_jax import channels
    >>> def net(w, x):
    ...     h = jax.nn.relu(x @ w["a"])
    ...     return h @ w["b"], {"relu": h}
    >>> w = {"a": jnp.array([[1.0, 2.0]]), "b": jnp.array([[3.0], [1.0]])}
    >>> x = jnp.ones((4, 1))
    >>> found = channels.groups(net, has_aux=True)(w, x)
    >>> wanda(w, found, activations=net(w, x)[1])["a"].tolist()
    [3.0, 2.0]
    """
    reads = summed(params, groups, jnp.abs, ("reads",))
    squares = _of_maps(groups, activations, jnp.square)
    return {name: reads[name] * jnp.sqrt(squares[name]) for name in groups}


def _of_maps(
    groups: Groups,
    activations: Mapping[str, Array],
    of: Callable[[Array], Array],
) -> Scores:
    """Means by unit of a function of every activation."""
    sums: dict[str, list[Array]] = {name: [] for name in groups}
    for path, x in activations.items():
        if path not in groups.aux:
            raise ValueError(
                f"activations must be among the auxiliary output, {tuple(groups.aux)},"
                f" got {path!r}"
            )
        for axis, labels in enumerate(groups.aux[path]):
            for name in {group for group, _ in labels if group is not None}:
                units = np.array([u if g == name else -1 for g, u in labels])
                size = groups[name].size
                means = along(of(x.astype(jnp.float32)), axis) * (
                    x.shape[axis] / x.size
                )
                counts = segments(jnp.ones(len(units)), units, size)
                sums[name].append(segments(means, units, size) / jnp.maximum(counts, 1))
    for name, found in sums.items():
        if not found:
            raise ValueError(f"group {name!r} has no map among {tuple(activations)}")
    return {name: sum(found[1:], found[0]) / len(found) for name, found in sums.items()}
