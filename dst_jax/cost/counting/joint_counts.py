"""The counts of many operations, from their factors, in as many sums as of one."""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from dst_jax.cost.counting.factors import LARGEST, Factors
from dst_jax.cost.counting.op_counts import OpCounts, by_side
from dst_jax.cost.counting.segment_products import (
    LONGEST,
    Segments,
    rows,
    segment_products,
)
from dst_jax.jaxprs.exact_integers import Count, sum_products
from dst_jax.jaxprs.operand_roles import Role

__all__ = ["Met", "op_counts"]

# Which of three products has all of an operand's elements, zeros too: effectual, by the
# left operand, by the right.
FULL_LHS = np.array([False, False, True])
FULL_RHS = np.array([False, True, False])


# Of the three products in that order.
Limbs = tuple[UInt32[Array, "6"], ...]


class Met(NamedTuple):
    """The factors of one operation, and the roles of its operands."""

    factors: Factors
    lhs: Role
    rhs: Role


def op_counts(operations: Sequence[Met]) -> list[OpCounts]:
    """The counts of operations.

    Args:
      operations: factors and roles. If neither operand is the activation (attention, a
        product of weights), by_activation is `effectual` and by_weight `valid`. Those
        of a product of two weights are `WeightCounts`.

    Raises:
      ValueError: an operand is too large to count in uint32.

    >>> one = jnp.ones((1, 1, 2), jnp.uint32)
    >>> factors = Factors(3 * one, one, lhs_full=(4,), rhs_full=2, dense=16)
    >>> (counts,) = op_counts([Met(factors, Role.DATA, Role.WEIGHT)])
    >>> counts.by_activation, counts.by_weight, counts.effectual
    (Count(12), Count(8), Count(6))
    """
    every = [operation.factors for operation in operations]
    for factors in every:
        _check_bounds(factors)
    long = [i for i, factors in enumerate(every) if factors.lhs.size > LONGEST]
    # Those of one dtype follow each other, so that they are converted together.
    short = sorted(
        set(range(len(every))) - {*long}, key=lambda i: every[i].lhs.dtype.name
    )
    limbs = {i: _alone(every[i]) for i in long}
    if short:
        found = _together([every[i] for i in short])
        limbs |= dict(zip(short, found, strict=True))
    return [_by_role(operation, limbs[i]) for i, operation in enumerate(operations)]


def _together(operations: Sequence[Factors]) -> list[Limbs]:
    """The products of operations whose factors are short."""
    return _limbs(
        [factors.lhs for factors in operations],
        [factors.rhs for factors in operations],
        tuple(factors.lhs_full for factors in operations),
        tuple(factors.rhs_full for factors in operations),
    )


# jit, so that outside of one it is a single program.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _limbs(
    lhs: Sequence[Array],
    rhs: Sequence[Array],
    lhs_full: tuple[tuple[int, ...], ...],
    rhs_full: tuple[int, ...],
) -> list[Limbs]:
    segments = Segments(tuple(x.size for x in lhs))
    limbs = segment_products(
        *_products(
            segments.join([jnp.ravel(x) for x in lhs]),
            segments.join([jnp.ravel(x) for x in rhs]),
            segments.spread(lhs_full),
            segments.spread([(full,) for full in rhs_full]),
        ),
        segments,
        max_a=max((0, *itertools.chain(*lhs_full))),
        max_b=max(rhs_full),
    )
    product, operation, limb = limbs.shape
    found = rows(limbs.reshape(product * operation, limb))
    return [tuple(found[i::operation]) for i in range(operation)]


def _alone(factors: Factors) -> Limbs:
    """The products of one operation of any size."""
    repeats = factors.lhs[0].size
    limbs = sum_products(
        *_products(
            jnp.ravel(factors.lhs).astype(jnp.uint32),
            jnp.ravel(factors.rhs),
            np.repeat(np.array(factors.lhs_full, np.uint32), repeats),
            np.full(factors.lhs.size, factors.rhs_full, np.uint32),
        ),
        max_a=max(factors.lhs_full, default=0),
        max_b=factors.rhs_full,
    )
    return tuple(limbs)


def _products(
    lhs: UInt32[Array, "n"],
    rhs: UInt32[Array, "n"],
    lhs_full: UInt32[np.ndarray, "n"],
    rhs_full: UInt32[np.ndarray, "n"],
) -> tuple[UInt32[Array, "3 n"], UInt32[Array, "3 n"]]:
    """Both operands of the three products; what is full is zero between segments."""
    return (
        jnp.where(FULL_LHS[:, None], lhs_full[None], jnp.minimum(lhs, lhs_full)[None]),
        jnp.where(FULL_RHS[:, None], rhs_full[None], rhs[None]),
    )


def _by_role(operation: Met, limbs: Limbs) -> OpCounts:
    factors, lhs, rhs = operation
    effectual, by_lhs, by_rhs = (Count(x) for x in limbs)
    _, groups, channels = factors.lhs.shape
    valid = Count.of(groups * channels * sum(factors.lhs_full) * factors.rhs_full)
    dense = Count.of(factors.dense)
    return by_side(dense, valid, by_lhs, by_rhs, effectual, roles=(lhs, rhs))


def _check_bounds(factors: Factors) -> None:
    most = max((*factors.lhs_full, factors.rhs_full))
    if most > LARGEST:
        raise ValueError(
            "cost.count adds at most 2^32 - 1 elements per tap and channel, got "
            f"{most}: count smaller batches"
        )
