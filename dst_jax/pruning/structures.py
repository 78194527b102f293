"""Structures: which weights of a layer are kept or pruned together.

A structure turns the scores of one layer, (*window, inputs, outputs), and a number of
weights to keep into a mask. Scores of a unit (a block, a channel) are averaged and the
best units are kept. A number that cannot be met to one weight is rounded: `block` to
the nearest block, `channel` to the nearest channel, `constant_fan_in` down to the same
number for every output; `n_m` keeps n of m for any number asked for.
"""

import re
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import checks, trees
from dst_jax.pruning.units import Shape, Structure, select

__all__ = [
    "Structure",
    "block",
    "by_name",
    "channel",
    "constant_fan_in",
    "n_m",
    "select",
    "unstructured",
]


def unstructured() -> Structure:
    """Single weights.

    >>> unstructured()(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
    [False, True, True]
    """
    return Structure("unstructured")


def block(shape: tuple[int, ...]) -> Structure:
    """Blocks over the last axes, `(4, 1)` for four inputs of one output.

    Args:
      shape: extent of a block along the last axes of a layer; each divides its axis.

    Raises:
      ValueError: an extent is not an integer of at least 1.

    >>> block((2,))(jnp.array([1.0, 3.0, 2.0, 2.5]), 2).tolist()
    [False, False, True, True]
    """
    if not shape or not all(isinstance(b, int) and b >= 1 for b in shape):
        raise ValueError(f"shape must be integers >= 1, got {shape}")

    def full(leaf: Shape) -> Shape:
        extent = (1,) * (len(leaf) - len(shape)) + tuple(shape)
        if len(extent) > len(leaf) or any(
            n % b for n, b in zip(leaf, extent, strict=True)
        ):
            raise ValueError(
                f"block{shape} does not divide a kernel of shape {leaf}; exclude the"
                " layer by rules"
            )
        return extent

    def units(leaf: Shape) -> Shape:
        return tuple(n // b for n, b in zip(leaf, full(leaf), strict=True))

    def pool(scores: Array) -> Array:
        pairs = zip(units(scores.shape), full(scores.shape), strict=True)
        split = scores.reshape([n for pair in pairs for n in pair])
        return split.mean(tuple(range(1, split.ndim, 2)))

    def expand(mask: Array, leaf: Shape) -> Array:
        for axis, b in enumerate(full(leaf)):
            mask = jnp.repeat(mask, b, axis)
        return mask

    return Structure(f"block{shape}", units, pool, expand)


def channel(axis: Literal["in", "out"] = "out") -> Structure:
    """Whole input or output channels.

    Args:
      axis: "in" or "out".

    Raises:
      ValueError: another axis.

    >>> channel("in")(jnp.array([[1.0, 3.0], [2.5, 2.0]]), 2).tolist()
    [[False, False], [True, True]]
    """
    checks.one_of("axis", axis, ("in", "out"))

    def kept(leaf: Shape) -> int:
        if axis == "in" and len(leaf) < 2:
            raise ValueError(f"a leaf of shape {leaf} has no input axis")
        return len(leaf) - (1 if axis == "out" else 2)

    def units(leaf: Shape) -> Shape:
        return tuple(n if i == kept(leaf) else 1 for i, n in enumerate(leaf))

    def pool(scores: Array) -> Array:
        others = tuple(i for i in range(scores.ndim) if i != kept(scores.shape))
        return scores.mean(others, keepdims=True)

    return Structure(f"channel({axis})", units, pool, jnp.broadcast_to)


def n_m(n: int, m: int, *, axis: int = -2) -> Structure:
    """Exactly `n` of every `m` consecutive weights along an axis: 2:4 is `n_m(2, 4)`.

    Args:
      n: number of weights kept in each group, in [1, m].
      m: size of a group, which divides the axis.
      axis: axis of the groups; -2 is that of the inputs, which hardware asks for.

    Raises:
      ValueError: `n` is out of range.

    Reference:
      Zhou et al. 2021 (arXiv 2102.04010).

    >>> n_m(1, 2, axis=-1)(jnp.array([1.0, 3.0, 2.0, 2.0]), 2).tolist()
    [False, True, True, False]
    """
    if not 1 <= n <= m:
        raise ValueError(f"n must be in [1, m={m}], got {n}")

    def choose(scores: Array, kept: Any) -> Array:
        del kept
        if not -scores.ndim <= axis < scores.ndim or scores.shape[axis] % m:
            raise ValueError(
                f"{n}:{m} does not divide axis {axis} of a kernel of shape"
                f" {scores.shape}; exclude the layer by rules"
            )
        at = axis % scores.ndim
        shape = (*scores.shape[:at], scores.shape[at] // m, m, *scores.shape[at + 1 :])
        kept_of_group = trees.top_k_by_pairs(scores.reshape(shape), n, axis=at + 1)
        return kept_of_group.reshape(scores.shape)

    return Structure(f"{n}:{m}", choose=choose, density=n / m)


def constant_fan_in() -> Structure:
    """The same number of weights for every output, `kept // outputs`.

    >>> scores = jnp.array([[1.0, 9.0], [2.0, 8.0], [3.0, 7.0]])
    >>> constant_fan_in()(scores, 3).tolist()
    [[False, True], [False, False], [True, False]]
    """

    def choose(scores: Array, kept: Any) -> Array:
        if not scores.size:
            return jnp.zeros(scores.shape, bool)
        lines = scores.reshape(-1, scores.shape[-1])
        mask = trees.top_k_along(lines, kept // scores.shape[-1], axis=0)
        return mask.reshape(scores.shape)

    return Structure("constant_fan_in", choose=choose)


def by_name(text: str) -> Structure:
    """A structure by name.

    Args:
      text: "unstructured", "channel_in", "channel_out", "constant_fan_in", "2:4" for
        N:M, "4x1" for a block, or `module:attribute` of a structure.

    Raises:
      ValueError: an unknown name, or numbers out of range.

    >>> by_name("2:4").density
    0.5
    >>> by_name("4x1").size((8, 3))
    4
    """
    if re.fullmatch(r"\d+:\d+", text):
        n, m = map(int, text.split(":"))
        return n_m(n, m)
    if re.fullmatch(r"\d+(x\d+)+", text):
        return block(tuple(map(int, text.split("x"))))
    found = checks.lookup("structure", text, _BY_NAME)
    if not isinstance(found, Structure):
        raise ValueError(f"structure {text!r} must be a Structure, got {found!r}")
    return found


_BY_NAME = {
    "unstructured": unstructured(),
    "channel_in": channel("in"),
    "channel_out": channel("out"),
    "constant_fan_in": constant_fan_in(),
}
