"""T1 and T2 for matrix products: brute force over all products; XLA's own count.

Independent checks.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jax import lax

from dst_jax import cost

QUICK = {"xla_backend_optimization_level": 0}
# Twenty cases that fail together need no smaller example: the message has the one.
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]


def ints(op: cost.OpCounts) -> tuple[int, ...]:
    return tuple(int(n) for n in op)


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-1, 2, shape).astype(np.float32)


def brute_force(lhs, rhs, dimension_numbers) -> tuple[int, ...]:
    """Every product, one by one; lhs is the activation."""
    (left, right), (left_batch, right_batch) = dimension_numbers
    counts = np.zeros(3, int)
    dense = 0
    for i in np.ndindex(*lhs.shape):
        for j in np.ndindex(*rhs.shape):
            if any(i[a] != j[b] for a, b in zip(left, right, strict=True)):
                continue
            if any(i[a] != j[b] for a, b in zip(left_batch, right_batch, strict=True)):
                continue
            a, w = lhs[i] != 0, rhs[j] != 0
            dense += 1
            counts += [a, w, a & w]
    return (dense, dense, *counts.tolist())


def count_dot(lhs, rhs, dimension_numbers) -> tuple[int, ...]:
    def dot(w, x):
        return lax.dot_general(x, w, dimension_numbers)

    counts = jax.jit(cost.count(dot))(jnp.asarray(rhs), jnp.asarray(lhs))
    return ints(counts["dot_general"])


@st.composite
def random_dot(draw):
    batch, contracted, left, right = (draw(st.integers(0, 2)) for _ in range(4))
    sizes = draw(st.lists(st.integers(1, 3), min_size=8, max_size=8))
    common = [f"k{i}" for i in range(batch + contracted)]
    size = dict(zip([*common, "l0", "l1", "r0", "r1"], sizes, strict=False))
    lhs_axes = draw(st.permutations([*common, *["l0", "l1"][:left]]))
    rhs_axes = draw(st.permutations([*common, *["r0", "r1"][:right]]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    lhs = sparse(rng, tuple(size[a] for a in lhs_axes))
    rhs = sparse(rng, tuple(size[a] for a in rhs_axes))
    order = draw(st.permutations(common))
    positions = [[axes.index(k) for k in order] for axes in (lhs_axes, rhs_axes)]
    dimension_numbers = (
        (positions[0][batch:], positions[1][batch:]),
        (positions[0][:batch], positions[1][:batch]),
    )
    return lhs, rhs, dimension_numbers


@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=NO_SHRINKING)
@given(cases=st.lists(random_dot(), min_size=20, max_size=20))
def test_random_matrix_products_match_a_loop(cases):
    """Twenty at a time: one compilation, which drops the products themselves."""

    def products(ws, xs):
        return [
            lax.dot_general(x, w, numbers)
            for w, x, (_, _, numbers) in zip(ws, xs, cases, strict=True)
        ]

    lhs, rhs = ([case[i] for case in cases] for i in (0, 1))
    counts = jax.jit(cost.count(products), compiler_options=QUICK)(rhs, lhs)
    for case, op in zip(cases, counts.values(), strict=True):
        assert ints(op) == brute_force(*case), case[2]


def test_valid_is_what_xla_counts():
    x, w = jnp.ones((5, 7)), jnp.ones((7, 3))
    flops = jax.jit(jnp.matmul).lower(x, w).cost_analysis()["flops"]
    dense = 5 * 7 * 3
    assert 2 * dense == flops
    assert count_dot(x, w, (([1], [0]), ([], []))) == (dense,) * 5


def test_attention_has_no_weight():
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(sparse(rng, (2, 4, 3))) for _ in range(2))
    counts = cost.count(lambda _, q, k: jnp.einsum("bqd,bkd->bqk", q, k))(0.0, q, k)
    dense, valid, by_activation, by_weight, effectual = ints(counts["dot_general"])
    expected = int(jnp.einsum("bqd,bkd->bqk", jnp.abs(q), jnp.abs(k)).sum())
    assert dense == valid == by_weight == 2 * 4 * 4 * 3
    assert by_activation == effectual == expected < dense


@pytest.mark.parametrize("k", [0, 2**17])
def test_short_and_long_contractions(k):
    x, w = jnp.ones((3, k)), jnp.ones((k, 2))
    assert count_dot(x, w, (([1], [0]), ([], []))) == (6 * k,) * 5


def test_counts_past_int32():
    x, w = jnp.ones((1 << 12, 1)), jnp.ones((1, 1 << 12))

    def wide(w, x):
        return lax.dot_general(
            jnp.broadcast_to(x, (1 << 12, 1 << 10)),
            jnp.broadcast_to(w, (1 << 10, 1 << 12)),
            (([1], [0]), ([], [])),
        )

    counts = jax.jit(cost.count(wide))(w, x)
    assert ints(counts["dot_general"]) == (math.prod([1 << 12, 1 << 10, 1 << 12]),) * 5
