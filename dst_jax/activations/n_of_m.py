"""N of every M neighbouring channels: 2:4, 4:8, 8:16 and 16:32 on activation maps."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int

from dst_jax import trees
from dst_jax.typing import concrete, is_traced

__all__ = ["PATTERNS", "keep_n_of_m", "patterned", "patterns_of", "with_patterns"]

PATTERNS = "patterns"
"""The collection of the patterns: `{tap: {"of_M": N}}`."""


def keep_n_of_m(
    x: Float[Array, "*shape channels"], n: int | Int[Array, ""], m: int
) -> Float[Array, "*shape channels"]:
    """Keeps the `n` largest magnitudes of every `m` neighbouring channels.

    The others become 0, so that a group has at most `n` nonzeros. A tie goes to the
    first channel. NaN stays NaN. The backward pass is the identity (straight-through):
    an entry that is not kept has a gradient too, and may come back.

    Args:
      x: array (..., channels).
      n: number of channels kept in each group, in [1, m]; may be traced.
      m: number of channels in a group, which divides the channels.

    Returns:
      An array like `x`.

    Raises:
      ValueError: `n` is no integer or out of range, or `m` does not divide the
        channels.

    Reference:
      Zhou et al. 2021 (arXiv 2102.04010) for the estimator, there on weights; "flexible
      N:M sparsity of activations" (arXiv 2509.22166), which trains nothing.

    >>> x = jnp.array([[1.0, -3.0, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    >>> keep_n_of_m(x, 2, 4).tolist()
    [[0.0, -3.0, 2.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """
    _check(n, m)
    channels = x.shape[-1] if x.ndim else 1
    if channels % m or not x.ndim:
        raise ValueError(f"m must divide the channels, got m={m} and shape {x.shape}")
    still = jax.lax.stop_gradient(x)
    grouped = jnp.abs(still).reshape(*x.shape[:-1], channels // m, m)
    kept = trees.top_k_by_pairs(grouped, n, axis=-1).reshape(x.shape)
    return _straight_through(x, jnp.where(kept | jnp.isnan(still), still, 0))


def with_patterns(
    variables: Mapping[str, Any], patterns: Mapping[str, str]
) -> dict[str, Any]:
    """The variables of a network whose taps keep N of every M channels.

    The new patterns replace all earlier ones; a tap that has a threshold too applies
    that first. They are a collection like batch statistics: evaluation, counting,
    checkpoints and export include them.

    Args:
      variables: variables of a model with taps; they are not changed.
      patterns: patterns such as "2:4" by path of the tap, which names its map in
        `apply_with_activations`. Other maps have none. `apply_with_activations` refuses
        a name that no tap has. The taps inside `nn.scan` or `nn.vmap` share a pattern,
        and read it if these have `variable_broadcast="patterns"`.

    Returns:
      A new mapping that also holds the collection `patterns`.

    Raises:
      ValueError: a pattern is not N:M with 1 <= N <= M.

    >>> import flax.linen as nn
    >>> from dst_jax.activations.tap import Tap
    >>> model = nn.Sequential([nn.relu, Tap()])
    >>> variables = with_patterns({}, {"layers_1": "1:2"})
    >>> model.apply(variables, jnp.array([0.25, 0.75, 0.5, -1.0])).tolist()
    [0.0, 0.75, 0.5, 0.0]
    """
    pairs = {name: _numbers(text) for name, text in patterns.items()}
    flat = {f"{name}/of_{m}": jnp.int32(n) for name, (n, m) in pairs.items()}
    return {**variables, PATTERNS: unflatten_dict(flat, sep="/")}


def patterns_of(variables: Mapping[str, Any]) -> dict[str, str]:
    """The patterns that variables hold, by name of the map.

    >>> patterns_of(with_patterns({}, {"layer1/0/relu1": "2:4"}))
    {'layer1/0/relu1': '2:4'}
    """
    found = {}
    flat: Any = flatten_dict(dict(variables.get(PATTERNS, {})), sep="/")
    for path, n in flat.items():
        name, _, key = path.rpartition("/")
        found[name] = f"{'?' if is_traced(n) else int(n)}:{_size(key)}"
    return found


def patterned(
    x: Float[Array, "*shape channels"], pattern: Mapping[str, Any], name: str
) -> Float[Array, "*shape channels"]:
    """A map under the pattern of its tap.

    Args:
      x: array (..., channels).
      pattern: `{"of_M": N}`.
      name: path of the tap.

    Raises:
      ValueError: M does not divide the channels; names the tap.

    >>> patterned(jnp.ones(6), {"of_4": 2}, "relu1")
    Traceback (most recent call last):
    ValueError: the pattern of 'relu1' needs channels that 4 divides, got 6: give ...
    """
    for key, n in pattern.items():
        m = _size(key)
        if x.shape[-1] % m:
            raise ValueError(
                f"the pattern of {name!r} needs channels that {m} divides, got"
                f" {x.shape[-1]}: give this map none or another one"
            )
        x = keep_n_of_m(x, n, m)
    return x


def _numbers(text: str) -> tuple[int, int]:
    """N and M of "N:M"."""
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None:
        raise ValueError(f"a pattern must be N:M, such as 2:4, got {text!r}")
    n, m = map(int, found.groups())
    _check(n, m)
    return n, m


def _size(key: str) -> int:
    return int(key.removeprefix("of_"))


def _check(n: Any, m: int) -> None:
    if m < 1:
        raise ValueError(f"m must be at least 1, got {m}")
    if is_traced(n):
        return
    n = concrete(n)
    if not (1 <= n <= m and n == int(n)):
        raise ValueError(f"n must be an integer in [1, m] with m = {m}, got {n}")


@jax.custom_jvp
def _straight_through(x: Array, kept: Array) -> Array:
    del x
    return kept


@_straight_through.defjvp
def _straight_through_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The tangent of `x`: that of what is kept is 0."""
    return _straight_through(*primals), tangents[0]
