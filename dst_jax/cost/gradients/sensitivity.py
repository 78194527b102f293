"""The cost of one nonzero element of an activation map, in multiplications."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

from dst_jax.cost.gradients.marks import (
    Marked,
    Partners,
    Which,
    carried,
    partner_counts,
)
from dst_jax.cost.gradients.products import products
from dst_jax.jaxprs.calls import Called, called, name_of, opened
from dst_jax.jaxprs.hidden_products import is_opaque, multiplies, reads_mutable
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.product_operands import PRODUCTS, is_product
from dst_jax.jaxprs.tracing import arrays_apart
from dst_jax.jaxprs.values import Value
from dst_jax.jaxprs.walker import bind

__all__ = ["sensitivity"]

Seeds = Mapping[Any, Array]


def sensitivity(
    fn: Callable[..., Any], *, partners: Which = "nonzero"
) -> Callable[..., Any]:
    """A function that returns the cost of a nonzero element of each map of `fn`.

    The cost of an element is the number of multiplications that it takes part in: the
    derivative of `cost.count`'s `effectual` with respect to "this element is nonzero".
    For the input of a convolution

        S[h, w, c] = sum over taps t that read (h, w) of W[t, c],

    with W the nonzero weights that see channel c. `sum(S * abs(map))` is the
    FLOPs-aware l1 penalty.

    A map is any array that `fn` returns, so let `fn` return the activation maps. A map
    that several operations read costs the sum. Between map and product, elements are
    followed exactly through operations that move, copy or drop them (reshape,
    transpose, pad, slice, concatenate, gather, where) and through functions that are
    zero at zero; multiplied by a zero factor, they cost nothing. In pooling (maximum,
    sum or mean of a window or axis) and in an elementwise maximum, each element is
    charged the cost of the result, as if it were the only nonzero one: an upper bound.
    A sum of two arrays, and any other operation, makes new values, whose cost is not
    charged to the map. To see that cost, return the sum as a map.

    Args:
      fn: function of arrays, or pytrees of arrays, that returns a pytree of maps with
        the batch on their first axis.
      partners: partners that count: "nonzero" counts products with nonzero partners,
        "all" also those with zero partners, as before pruning.

    Returns:
      A function of the arguments of `fn` that returns the structure of its output, with
      a float32 array for each map: the mean over the batch, in the shape of an example.
      Integers below 2^24 are exact where XLA convolves without a transform.

    Raises:
      ValueError: unknown `partners`; or, at the call, a map is made or read in a loop,
        a branch or a kernel that multiplies.

    >>> def net(w, x):
    ...     hidden = jax.nn.relu(x)
    ...     return {"hidden": hidden}, hidden @ w
    >>> costs, _ = sensitivity(net)(jnp.eye(2, 3), jnp.ones((4, 2)))
    >>> costs["hidden"].tolist()
    [1.0, 1.0]
    """
    counts = partner_counts(partners)

    @functools.wraps(fn, updated=())
    def costs(*args: Any, **kwargs: Any) -> Any:
        arrays, filled = arrays_apart(args, kwargs)

        def of_arrays(*given: Any) -> Any:
            args, kwargs = filled(given)
            return fn(*args, **kwargs)

        closed, out = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays.values())
        program = opened(closed)
        inputs = [Marked(jnp.asarray(x)) for x in arrays.values()]
        unmarked = [jnp.zeros(leaf.shape) for leaf in jax.tree.leaves(out)]

        def multiplied(marks: list[Array]) -> Array:
            _, found = _follow(program, inputs, _inside(program, marks), counts)
            return sum(found, start=jnp.zeros(()))

        # Linear in the marks: the slope at 0 is the slope everywhere.
        slopes = jax.grad(multiplied)(unmarked)
        leaves = [slope.mean(0) if slope.ndim else slope for slope in slopes]
        return jax.tree.unflatten(jax.tree.structure(out), leaves)

    return costs


def _follow(
    program: Called, args: Sequence[Marked], seeds: Seeds, partners: Partners
) -> tuple[list[Marked], list[Array]]:
    """The results of a jaxpr, and the products of marked elements with partners.

    Args:
      program: jaxpr and its constants.
      args: values of the invars.
      seeds: marks to add to variables as soon as they are computed.
      partners: function that says which partners count in a product.
    """
    jaxpr, consts = program
    env: dict[Any, Marked] = {}
    first = [*args, *(Marked(const) for const in consts)]
    for var, value in zip([*jaxpr.invars, *jaxpr.constvars], first, strict=True):
        env[var] = _seeded(value, seeds.get(var))

    def read(atom: Any) -> Marked:
        return Marked(atom.val) if isinstance(atom, core.Literal) else env[atom]

    multiplied: list[Array] = []
    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        results, found = _step(eqn, inputs, seeds, partners)
        env.update(zip(eqn.outvars, results, strict=True))
        multiplied += found
    return [read(atom) for atom in jaxpr.outvars], multiplied


def _step(
    eqn: core.JaxprEqn, args: list[Marked], seeds: Seeds, partners: Partners
) -> tuple[list[Marked], list[Array]]:
    outputs = [seeds.get(var) for var in eqn.outvars]
    reached = any(arg.mark is not None for arg in args)
    inner = called(eqn)
    if reached or any(seed is not None for seed in outputs):
        if inner is not None:
            # A map that a call returns is a map from the equation inside that makes it.
            return _follow(inner, args, _inside(inner, outputs), partners)
        _check(eqn)
    values = bind(eqn, [Value(arg.array, Role.CONSTANT) for arg in args])
    marks = carried(eqn, args, partners) if reached else [None] * len(values)
    results = [
        _seeded(Marked(value.array, mark), seed)
        for value, mark, seed in zip(values, marks, outputs, strict=True)
    ]
    return results, _products(eqn, args, partners)


def _products(
    eqn: core.JaxprEqn, args: list[Marked], partners: Partners
) -> list[Array]:
    if not is_product(eqn):
        return []
    lhs, rhs = (args[side[0]] for side in PRODUCTS[eqn.primitive.name])
    operands = [arg.array for arg in args]
    found = []
    if lhs.mark is not None:
        found.append(products(eqn, lhs.mark, partners(rhs.array), operands))
    if rhs.mark is not None:
        found.append(products(eqn, partners(lhs.array), rhs.mark, operands))
    return found


def _inside(program: Called, seeds: Sequence[Array | None]) -> Seeds:
    """The seeds of the results of a jaxpr, by their variables inside it."""
    inside: dict[Any, Array] = {}
    for var, seed in zip(program.jaxpr.outvars, seeds, strict=True):
        if seed is not None and not isinstance(var, core.Literal):
            inside[var] = inside[var] + seed if var in inside else seed
    return inside


def _seeded(value: Marked, seed: Array | None) -> Marked:
    if seed is None:
        return value
    return Marked(value.array, seed if value.mark is None else value.mark + seed)


def _check(eqn: core.JaxprEqn) -> None:
    if is_product(eqn):
        return
    if is_opaque(eqn) or multiplies(eqn) or reads_mutable(eqn):
        raise ValueError(
            f"cost.sensitivity cannot follow a map into {name_of(eqn)!r}, where it may "
            "be multiplied: it follows maps through calls (jit, remat, custom "
            "derivatives), not through loops, branches, kernels and mutable arrays"
        )
