"""The tap as an operation of JAX, for networks of any library."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from dst_jax.jaxprs.calls import register
from dst_jax.jaxprs.traced_function import is_array

__all__ = ["TAP", "batch_first", "tap"]

TAP = core.Primitive("dst_jax_tap")
"""The identity; its parameters are `name`, the shape that `tap` saw, and the axes that
`jax.vmap` added, the outermost first."""


def tap(x: Array, name: str) -> Array:
    """The identity, which names an activation map for `collect`.

    Call it in any function of JAX: in a module of NNX, Equinox or Haiku, or in plain
    code, inside jit, remat, scan and vmap. It costs nothing when nobody collects: the
    compiled program is the same as without it. `Tap` is the module for Linen.

    Args:
      x: activation map (batch, ...), or that of one example under `jax.vmap`.
      name: name of the map. Maps of one name are numbered in order of execution.

    Returns:
      `x`.

    Raises:
      TypeError: `x` is no array, or `name` no string.
      ValueError: `name` is empty.

    >>> tap(jnp.ones(2), "relu1").tolist()
    [1.0, 1.0]
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    if not name:
        raise ValueError(f"name must not be empty, got {name!r}")
    if not is_array(x):
        raise TypeError(f"x must be an array, got {x!r}")
    x = jnp.asarray(x)
    return TAP.bind(x, name=name, seen=x.shape, batch=())


def batch_first(x: Array, batch: Sequence[int]) -> Array:
    """An array with the axes that `jax.vmap` added in front, the outermost first.

    >>> batch_first(jnp.ones((2, 3, 4)), (2, 0)).shape
    (4, 2, 3)
    """
    return jnp.moveaxis(x, tuple(batch), tuple(range(len(batch))))


def _batched(args: Sequence[Array], dims: Sequence[int], **params: Any) -> Any:
    (x,), (axis,) = args, dims
    inside = tuple(at + (at >= axis) for at in params["batch"])
    return TAP.bind(x, **params | {"batch": (axis, *inside)}), axis


def _derived(primals: Sequence[Array], tangents: Sequence[Any], **params: Any) -> Any:
    """Tangents pass by the tap: a derivative is no activation map."""
    return TAP.bind(*primals, **params), tangents[0]


def _identity(x: Any, **params: Any) -> Any:
    del params
    return x


TAP.def_impl(_identity)
TAP.def_abstract_eval(_identity)
ad.primitive_jvps[TAP] = _derived
batching.primitive_batchers[TAP] = _batched
mlir.register_lowering(TAP, lambda context, x, **params: [x])
register(TAP, _identity)
