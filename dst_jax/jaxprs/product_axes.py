"""What the axes of an operand mean in a convolution or a matrix product."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.extend import core

from dst_jax.jaxprs.axis_pieces import Axes, Piece, extent, origins
from dst_jax.jaxprs.product_operands import dot_numbers

__all__ = ["Meaning", "meaning"]


class Meaning(NamedTuple):
    """What the axes of a leaf mean, each tuple in order of their pieces.

    An axis whose parts mean different things is in several tuples; one that a product
    does not see is in none.

    Attributes:
      stack: axes of independent products.
      window: spatial axes.
      inputs: contracted axes.
      outputs: free axes.
      groups: number of feature groups into which the outputs split.
    """

    stack: tuple[int, ...]
    window: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: int = 1


def meaning(eqn: core.JaxprEqn, side: int, axes: Axes) -> Meaning:
    """What the axes of a leaf mean in a convolution or a matrix product.

    Args:
      eqn: the equation: of arrays that are stored in full.
      side: position of the operand that derives from the leaf.
      axes: what the operand's axes are made of.

    >>> import jax
    >>> from dst_jax.jaxprs.axis_pieces import whole
    >>> program = jax.make_jaxpr(lambda x, w: x @ w.T)(*[jax.numpy.ones((2, 3))] * 2)
    >>> meaning(program.eqns[1], 1, whole((3, 2)))
    Meaning(stack=(), window=(), inputs=(0,), outputs=(1,), groups=1)
    """

    def pieces(positions: Sequence[int]) -> list[Piece]:
        return [piece for i in positions for piece in axes[i]]

    if eqn.primitive.name != "conv_general_dilated":
        contracted, batch = (both[side] for both in dot_numbers(eqn))
        if side == 1 and eqn.primitive.name == "ragged_dot_general":
            numbers = eqn.params["ragged_dot_dimension_numbers"]
            batch = (*batch, *numbers.rhs_group_dimensions)
        free = [i for i in range(len(axes)) if i not in (*contracted, *batch)]
        parts = (_named(pieces(positions)) for positions in (batch, contracted, free))
        stack, inputs, outputs = parts
        return Meaning(stack, (), inputs, outputs)
    numbers = eqn.params["dimension_numbers"]
    output, channel, *window = (numbers.lhs_spec, numbers.rhs_spec)[side]
    groups = eqn.params["feature_group_count"] * eqn.params["batch_group_count"]
    inputs, outputs = pieces([channel]), pieces([output])
    stacked = 0
    if side == 1:
        stacked, groups = _stacked(inputs, outputs, groups)
    return Meaning(
        _named(outputs[:stacked]),
        _named(pieces(window)),
        _named(inputs),
        _named(outputs[stacked:]),
        groups,
    )


def _stacked(
    inputs: Sequence[Piece], outputs: Sequence[Piece], groups: int
) -> tuple[int, int]:
    """How many pieces of the outputs are layers of a stack; the groups of a layer.

    `vmap` makes one convolution of several: their kernels follow each other along the
    outputs, a feature group or more for each. Where the outputs come from one axis, or
    the inputs from none (depthwise), these are groups of one layer.

    >>> layers, filters = Piece(frozenset({0}), 5), Piece(frozenset({4}), 6)
    >>> _stacked([Piece(frozenset({3}), 1)], [layers, filters], 15)
    (1, 3)
    """
    stacked = 0
    for i, piece in enumerate(outputs[:-1]):
        one_layer = piece.origin and _one_layer(piece, inputs, outputs[i + 1 :])
        if groups == 1 or groups % piece.size or one_layer:
            break
        stacked, groups = i + 1, groups // piece.size
    return stacked, groups


def _one_layer(piece: Piece, inputs: Sequence[Piece], rest: Sequence[Piece]) -> bool:
    """Whether a piece of the outputs belongs to the layer that the rest belongs to."""
    others = origins(rest)
    if not origins(inputs) or not others or piece.origin & others:
        return True
    # Filters of a depthwise convolution of which `vmap` has mapped the kernel alone.
    return extent(inputs) == 1 and min(others) < min(piece.origin)


def _named(pieces: Sequence[Piece]) -> tuple[int, ...]:
    axes = [axis for piece in pieces for axis in sorted(piece.origin)]
    return tuple(dict.fromkeys(axes))
