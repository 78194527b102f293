import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from dst_jax import cost


def ints(op: cost.OpCounts) -> tuple[int, ...]:
    return tuple(int(n) for n in op)


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-1, 2, shape).astype(np.float32)


def brute_force(lhs, rhs, dimension_numbers) -> tuple[int, ...]:
    """The dot product of two 0/1 masks counts the products; lhs is the activation."""
    masks = (np.ones_like(lhs), np.ones_like(rhs)), (lhs != 0, np.ones_like(rhs))
    masks += (np.ones_like(lhs), rhs != 0), (lhs != 0, rhs != 0)

    def products(a, w) -> int:
        out = lax.dot_general(a.astype(np.int32), w.astype(np.int32), dimension_numbers)
        return int(out.sum())

    valid, *others = [products(*pair) for pair in masks]
    return (valid, valid, *others)


def count_dot(lhs, rhs, dimension_numbers) -> tuple[int, ...]:
    def dot(w, x):
        return lax.dot_general(x, w, dimension_numbers)

    counts = jax.jit(cost.count(dot))(jnp.asarray(rhs), jnp.asarray(lhs))
    return ints(counts["dot_general"])


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_matrix_product_matches_its_masks(data):
    batch, contracted, left, right = (data.draw(st.integers(0, 2)) for _ in range(4))
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=8, max_size=8))
    common = [f"k{i}" for i in range(batch + contracted)]
    size = dict(zip([*common, "l0", "l1", "r0", "r1"], sizes, strict=False))
    lhs_axes = data.draw(st.permutations([*common, "l0", "l1"][: len(common) + left]))
    rhs_axes = data.draw(st.permutations([*common, *["r0", "r1"][:right]]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    lhs = sparse(rng, tuple(size[a] for a in lhs_axes))
    rhs = sparse(rng, tuple(size[a] for a in rhs_axes))
    positions = [[axes.index(k) for k in common] for axes in (lhs_axes, rhs_axes)]
    dimension_numbers = (
        (positions[0][batch:], positions[1][batch:]),
        (positions[0][:batch], positions[1][:batch]),
    )
    expected = brute_force(lhs, rhs, dimension_numbers)
    assert count_dot(lhs, rhs, dimension_numbers) == expected


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
