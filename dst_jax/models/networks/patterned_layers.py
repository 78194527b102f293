"""Convolutions and dense layers whose input may have an N:M pattern."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from dst_jax.activations.n_of_m import PATTERNS, patterned

__all__ = ["PatternedConv", "PatternedDense"]

# Without what Flax does around a call: the layer is called once, and its name stands
# once in the names of its operations.
_conv, _dense = map(inspect.unwrap, (nn.Conv.__call__, nn.Dense.__call__))


class PatternedConv(nn.Conv):
    """Flax's convolution, of whose input N of every M channels stay on request.

    The pattern is what `activations.with_patterns` gives the layer's path: it is one of
    this layer alone, where that of a tap is one of all layers that read the map.

    >>> import jax.numpy as jnp
    >>> layer = PatternedConv(1, (1,), use_bias=False)
    >>> variables = {"params": {"kernel": jnp.ones((1, 2, 1))}}
    >>> patterns = {"patterns": {"of_2": 1}}
    >>> layer.apply(variables | patterns, jnp.array([[[1.0, 2.0]]])).item()
    2.0
    """

    takes_patterns = True
    # Flax's own annotation is a protocol that no check of types at run time can read.
    promote_dtype: Callable[..., Any] = nn.Conv.promote_dtype

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """The convolution of the input, after its pattern if it has one."""
        own = self.variables.get(PATTERNS, {})
        return _conv(self, patterned(inputs, own, "/".join(self.path)))


class PatternedDense(nn.Dense):
    """Flax's dense layer, likewise; see `PatternedConv`."""

    takes_patterns = True
    promote_dtype: Callable[..., Any] = nn.Dense.promote_dtype

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """The product with the input, after its pattern if it has one."""
        own = self.variables.get(PATTERNS, {})
        return _dense(self, patterned(inputs, own, "/".join(self.path)))
