"""Scores from weights, and from weights and gradients."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dst_jax.channels.groups import Groups
from dst_jax.kernels.unit_sums import (
    TRAINED,
    Scores,
    leaves_of,
    mean_magnitudes,
    missing,
    owned,
    summed,
)
from dst_jax.typing import Params

__all__ = ["bn_scale", "fpgm", "l1", "l2", "lamp", "taylor", "umm"]


def l1(params: Params, groups: Groups, *, roles: Sequence[str] = TRAINED) -> Scores:
    """`sum |w|` over all weights of a unit.

    Args:
      params: pytree of arrays, such as that of the traced argument.
      groups: from `channels.groups`.
      roles: roles of the leaves that are summed.

    Raises:
      ValueError: no leaf of a group with such a role is in `params`.

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[1.0, -2.0]]), "b": jnp.array([[1.0], [1.0]])}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> l1(w, found)["a"].tolist()
    [2.0, 3.0]
    """
    return summed(params, groups, jnp.abs, roles)


def l2(params: Params, groups: Groups, *, roles: Sequence[str] = TRAINED) -> Scores:
    """`sqrt(sum w^2)` over all weights of a unit: the norm of the group.

    See `l1` for the arguments.

    Reference:
      Fang et al. 2023 (DepGraph, arXiv 2301.12900), with a norm over all dependents.

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[3.0, 0.0]]), "b": jnp.array([[4.0], [1.0]])}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> l2(w, found)["a"].tolist()
    [5.0, 1.0]
    """
    squares = summed(params, groups, jnp.square, roles)
    return {name: jnp.sqrt(x) for name, x in squares.items()}


def umm(params: Params, groups: Groups) -> Scores:
    """Mean magnitude of the weights that produce a unit, pruned ones counted as 0.

    The mean over all entries of a filter, so that it falls both with how few weights
    are left and with how small they are; of several producing kernels the mean.

    Reference:
      Yin et al. 2023 (Chase, arXiv 2305.19454), unmasked mean magnitude, from the
      authors' code. That several producers are averaged is an assumption of ours.

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[1.0, 0.0], [3.0, 1.0]]), "b": jnp.ones((2, 1))}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 2)))
    >>> umm(w, found)["a"].tolist()
    [2.0, 0.5]
    """
    return mean_magnitudes(params, groups)


def bn_scale(params: Params, groups: Groups) -> Scores:
    """`|scale|` of the normalisations of a unit; of several the mean.

    Raises:
      ValueError: a group has no scale.

    Reference:
      Liu et al. 2017 (network slimming, arXiv 1708.06519).

    >>> from dst_jax import channels
    >>> w = {"a": jnp.ones((1, 2)), "s": jnp.array([0.5, -2.0]), "b": jnp.ones((2, 1))}
    >>> net = lambda w, x: (x @ w["a"] * w["s"][None]) @ w["b"]
    >>> bn_scale(w, channels.groups(net)(w, jnp.ones((1, 1))))["a"].tolist()
    [0.5, 2.0]
    """
    sums = summed(params, groups, jnp.abs, ("scales",))
    ones = summed(params, groups, jnp.ones_like, ("scales",))
    return {name: sums[name] / ones[name] for name in sums}


def fpgm(params: Params, groups: Groups) -> Scores:
    """Sum of the distances of a unit's filter to all others of its group.

    The filter that is nearest to the geometric median of all is replaceable: it has the
    lowest score. A filter is what produces the unit, over all producing leaves.

    Reference:
      He et al. 2019 (arXiv 1811.00250), equation 4.

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[0.0, 1.0, 3.0]]), "b": jnp.ones((3, 1))}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> fpgm(w, found)["a"].tolist()
    [4.0, 3.0, 5.0]
    """
    own, found = owned(params, groups), {}
    for name, group in groups.items():
        inner = jnp.zeros((group.size, group.size))
        count = 0
        for x, axis, units in leaves_of(own, group, ("produces",)):
            rows = jnp.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
            for at in _occurrences(units, group.size):
                filters = jnp.where((at >= 0)[:, None], rows[at], 0)
                inner, count = inner + filters @ filters.T, count + 1
        if not count:
            missing(name, "produces")
        squares = jnp.diagonal(inner)
        apart = jnp.maximum(squares[:, None] + squares[None] - 2 * inner, 0)
        found[name] = jnp.sqrt(apart).sum(axis=1)
    return found


def lamp(params: Params, groups: Groups) -> Scores:
    """`u^2 / sum of v^2` over the units of the group whose norm is not below `u`'s.

    `u` is the norm of `l2`. Scores of different groups can be compared: the highest of
    each is 1.

    Reference:
      Lee et al. 2021 (LAMP, arXiv 2010.07611), equation 4, on units instead of weights.

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[1.0, 2.0]]), "b": jnp.zeros((2, 1))}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> [round(x, 3) for x in lamp(w, found)["a"].tolist()]
    [0.2, 1.0]
    """

    def scored(norms: Array) -> Array:
        squares = jnp.square(norms)
        order = jnp.argsort(squares)
        rest = jnp.cumsum(squares[order][::-1])[::-1]
        ranked = squares[order] / jnp.maximum(rest, jnp.finfo(rest.dtype).tiny)
        return jnp.zeros_like(ranked).at[order].set(ranked)

    return {name: scored(norms) for name, norms in l2(params, groups).items()}


def taylor(params: Params, groups: Groups, *, gradients: Params) -> Scores:
    """`sum |w g|` over all weights of a unit: the change of the loss without it.

    Args:
      params: pytree of arrays.
      groups: from `channels.groups`.
      gradients: gradients of the loss, shaped like `params`, summed over data.

    Reference:
      Molchanov et al. 2019 (arXiv 1906.10771); Aflalo et al. 2020 (arXiv 2002.08258).

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[1.0, 2.0]]), "b": jnp.ones((2, 1))}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> g = {"a": jnp.array([[1.0, -1.0]]), "b": jnp.zeros((2, 1))}
    >>> taylor(w, found, gradients=g)["a"].tolist()
    [1.0, 2.0]
    """
    products = jax.tree.map(jnp.multiply, params, gradients)
    return summed(products, groups, jnp.abs, TRAINED)


def _occurrences(units: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """For every time that units occur, the position of each, -1 if there is none.

    >>> [at.tolist() for at in _occurrences(np.array([0, 1, 0]), 2)]
    [[0, 1], [2, -1]]
    """
    positions = [np.flatnonzero(units == unit) for unit in range(size)]
    for i in range(max(map(len, positions), default=0)):
        yield np.array([p[i] if i < len(p) else -1 for p in positions])
