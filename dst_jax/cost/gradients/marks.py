"""Marks: how the elements of a map pass through operations to a product.

A mark is an array of weights for a value: the degree to which each element is an
element of a map. A rule per primitive turns the marks of the operands into the marks of
the results. The rules are linear, so the sensitivity of a map is the derivative of the
number of products with respect to its mark. An operation without a rule makes new
values: no single element of the map decides whether they are zero, so the mark ends.
"""

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jaxtyping import Array, Float

from dst_jax import checks

__all__ = ["Marked", "Partners", "Which", "carried", "partner_counts"]

Which = Literal["nonzero", "all"]

# From an operand to the weight of each of its elements as a partner in a product.
Partners = Callable[[Any], Float[Array, "..."]]


class Marked(NamedTuple):
    """A value and its mark; None is a mark of zeros.

    >>> Marked(jnp.ones(2)).mark is None
    True
    """

    array: Any
    mark: Float[Array, "..."] | None = None


def partner_counts(partners: str) -> Partners:
    """A function that returns 1 for every element that counts as a partner, else 0.

    Raises:
      ValueError: `partners` is neither "nonzero" nor "all".

    >>> partner_counts("nonzero")(jnp.array([0.0, 2.0])).tolist()
    [0.0, 1.0]
    """
    checks.one_of("partners", partners, get_args(Which))

    def present(x: Any) -> Array:
        x = jnp.asarray(x)
        return jnp.ones(x.shape) if partners == "all" else (x != 0).astype(jnp.float32)

    return present


def carried(
    eqn: core.JaxprEqn, args: list[Marked], partners: Partners
) -> list[Float[Array, "..."] | None]:
    """The marks of an equation's results; None where a mark ends.

    Args:
      eqn: equation without an inner jaxpr.
      args: operands of the equation.
      partners: function that says which factors of an elementwise product count.

    >>> import jax
    >>> x = Marked(jnp.array([3.0, 1.0]), jnp.array([1.0, 0.0]))
    >>> (eqn,) = jax.make_jaxpr(lambda x: jax.lax.rev(x, (0,)))(x.array).eqns
    >>> [mark.tolist() for mark in carried(eqn, [x], partner_counts("nonzero"))]
    [[0.0, 1.0]]
    """
    name, params = eqn.primitive.name, eqn.params
    marks = [arg.mark for arg in args]
    if name in SAME_ELEMENTS:
        return marks
    if name in SAME_ZEROS:
        return marks[:1]
    if name in MOVED:
        return _moved(eqn, args, MOVED[name])
    if name in EITHER:
        return [_sum(marks)]
    if name == "mul":
        return [_factor(eqn, args, partners)]
    if name in ANY_OF_AXES and marks[0] is not None:
        return [marks[0].sum(params["axes"])]
    if name in ANY_OF_WINDOW and marks[0] is not None:
        # The parameters of the primitive are the options of the function.
        return [lax.reduce_window(marks[0], 0.0, lax.add, **params)]
    return [None] * len(eqn.outvars)


# Every result is an operand.
SAME_ELEMENTS = frozenset({"device_put", "optimization_barrier"})

# One element of the first operand decides whether an element of the result is zero.
SAME_ZEROS = frozenset(
    {
        "abs",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "cbrt",
        "ceil",
        "convert_element_type",
        "copy",
        "div",
        "erf",
        "expm1",
        "floor",
        "integer_pow",
        "log1p",
        "name",
        "neg",
        "reduce_precision",
        "rem",
        "round",
        "sharding_constraint",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "tan",
        "tanh",
    }
)

# The operands whose elements are moved, copied or dropped; the others are positions.
MOVED = {
    "broadcast_in_dim": slice(None),
    "concatenate": slice(None),
    "dynamic_slice": slice(1),
    "dynamic_update_slice": slice(2),
    "expand_dims": slice(None),
    "gather": slice(1),
    "pad": slice(None),
    "reshape": slice(None),
    "rev": slice(None),
    "select_n": slice(1, None),
    "slice": slice(None),
    "split": slice(None),
    "squeeze": slice(None),
    "transpose": slice(None),
}

# Any nonzero element makes the result nonzero; each is charged the full cost.
EITHER = frozenset({"clamp", "max", "min"})
ANY_OF_AXES = frozenset({"reduce_max", "reduce_min", "reduce_sum"})
ANY_OF_WINDOW = frozenset(
    {"reduce_window_max", "reduce_window_min", "reduce_window_sum"}
)


def _moved(
    eqn: core.JaxprEqn, args: list[Marked], data: slice
) -> list[Float[Array, "..."] | None]:
    operands = [arg.array for arg in args]
    operands[data] = [
        jnp.zeros(jnp.shape(arg.array)) if arg.mark is None else arg.mark
        for arg in args[data]
    ]
    moved = eqn.primitive.bind(*operands, **eqn.params)
    return list(moved) if eqn.primitive.multiple_results else [moved]


def _factor(
    eqn: core.JaxprEqn, args: list[Marked], partners: Partners
) -> Float[Array, "..."] | None:
    """The mark of a product: a factor is carried on where its partner counts."""
    (x, y), (first, second) = args, eqn.invars
    if first is second:
        return x.mark
    return _sum(
        None if one.mark is None else one.mark * partners(other.array)
        for one, other in ((x, y), (y, x))
    )


def _sum(marks: Iterable[Array | None]) -> Array | None:
    found = [mark for mark in marks if mark is not None]
    return functools.reduce(operator.add, found) if found else None
