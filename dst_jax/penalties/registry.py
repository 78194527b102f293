"""Penalties and proximal maps by name, for configurations and comparisons."""

import sys
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import checks
from dst_jax.penalties.capped_l1 import capped_l1, prox_capped_l1
from dst_jax.penalties.cauchy import cauchy, prox_cauchy
from dst_jax.penalties.geman import geman, prox_geman
from dst_jax.penalties.group_lasso import group_lasso, prox_group_lasso
from dst_jax.penalties.hoyer import hoyer, hoyer_square, hoyer_square_batch
from dst_jax.penalties.l0 import l0, prox_l0
from dst_jax.penalties.l1 import l1, prox_l1
from dst_jax.penalties.l1_minus_l2 import l1_minus_l2, prox_l1_minus_l2
from dst_jax.penalties.laplace import laplace, prox_laplace
from dst_jax.penalties.log_sum import log_sum, prox_log_sum
from dst_jax.penalties.lp import (
    l_half,
    l_two_thirds,
    lp,
    prox_l_half,
    prox_l_two_thirds,
)
from dst_jax.penalties.mcp import mcp, prox_mcp
from dst_jax.penalties.scad import prox_scad, scad
from dst_jax.penalties.transformed_l1 import prox_transformed_l1, transformed_l1
from dst_jax.typing import Penalty

__all__ = ["get", "get_prox", "names", "options"]

Function = Callable[..., Array]
_MEMBERS: dict[str, tuple[Function, Function | None]] = {
    "l0": (l0, prox_l0),
    "l1": (l1, prox_l1),
    "lp": (lp, None),
    "l_half": (l_half, prox_l_half),
    "l_two_thirds": (l_two_thirds, prox_l_two_thirds),
    "transformed_l1": (transformed_l1, prox_transformed_l1),
    "geman": (geman, prox_geman),
    "log_sum": (log_sum, prox_log_sum),
    "laplace": (laplace, prox_laplace),
    "cauchy": (cauchy, prox_cauchy),
    "mcp": (mcp, prox_mcp),
    "scad": (scad, prox_scad),
    "capped_l1": (capped_l1, prox_capped_l1),
    "hoyer": (hoyer, None),
    "hoyer_square": (hoyer_square, None),
    "hoyer_square_batch": (hoyer_square_batch, None),
    "l1_minus_l2": (l1_minus_l2, prox_l1_minus_l2),
    "group_lasso": (group_lasso, prox_group_lasso),
}


def names() -> tuple[str, ...]:
    """The names that `get` knows.

    >>> names()[:3]
    ('l0', 'l1', 'lp')
    """
    return tuple(_MEMBERS)


def options(name: str) -> dict[str, Any]:
    """A penalty's shape parameters and their defaults.

    >>> options("mcp")
    {'lam': 1.0, 'gamma': 3.0}
    """
    return _defaults(_member(name)[0])


def get(name: str, **options: Any) -> Penalty:
    """The penalty of that name with its options bound.

    Args:
      name: name from `names()`, or `module:attribute` of another penalty.
      **options: shape parameters, see `options(name)`; may be traced.

    Returns:
      `(x, *, axis=None) -> Array`; without options the function itself, which is equal
      from call to call, as an argument that jit takes as static should be.

    Raises:
      ValueError: an unknown name or option, or an option out of range.
      TypeError: an option that is not a number.

    >>> float(get("transformed_l1", a=0.5)(jnp.array([1.0, 0.0])))
    1.0
    """
    penalty = _member(name)[0]
    _check_known(name, penalty, options)
    if not options:
        return penalty
    bound = partial(penalty, **options)
    # The penalty checks its own options now, not when a run first calls it. The array
    # has more axes than any map or kernel, so that every group_axis is in range.
    jax.eval_shape(bound, jax.ShapeDtypeStruct((1,) * 8, jnp.float32))
    return bound


def get_prox(name: str, **options: Any) -> Function:
    """The proximal map of that penalty with its options bound.

    Args:
      name: name from `names()` of a penalty with a closed-form proximal map, or
        `module:attribute` of another penalty, whose map is `prox_ATTRIBUTE` in the same
        module.
      **options: shape parameters, see `options(name)`; may be traced.

    Returns:
      `(y, strength) -> Array`; without options the function itself.

    Raises:
      ValueError: an unknown name or option, an option out of range, or a penalty
        without a closed-form proximal map.
      TypeError: an option that is not a number.

    >>> get_prox("l1")(jnp.array([3.0]), 1.0).tolist()
    [2.0]
    """
    prox = _member(name)[1]
    if prox is None:
        known = [n for n, (_, prox) in _MEMBERS.items() if prox is not None]
        raise ValueError(f"{name} has no closed-form prox; these have one: {known}")
    _check_known(name, prox, options)
    if not options:
        return prox
    bound = partial(prox, **options)
    jax.eval_shape(bound, jax.ShapeDtypeStruct((1,) * 8, jnp.float32), 1.0)
    return bound


def _member(name: str) -> tuple[Function, Function | None]:
    found = checks.lookup("penalty", name, _MEMBERS)
    if isinstance(found, tuple):
        return found
    module, _, attribute = name.partition(":")
    if not callable(found):
        raise ValueError(f"penalty {name!r} must be a function, got {found!r}")
    return found, getattr(sys.modules[module], f"prox_{attribute}", None)


def _check_known(name: str, function: Function, options: dict[str, Any]) -> None:
    known = list(_defaults(function))
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{name} has no option {unknown}; it takes {known}")


def _defaults(function: Function) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "axis"
    }
