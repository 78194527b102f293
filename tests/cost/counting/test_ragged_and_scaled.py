"""Products whose groups are data, and products of scaled operands."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import cost, kernels

RANDOM = np.random.default_rng(0)


def zeros_and_ones(*shape, share=0.5):
    return (RANDOM.random(shape) < share).astype(np.float32) * RANDOM.normal(size=shape)


def counted(fn, *args):
    (counts,) = jax.jit(cost.count(fn))(*args).values()
    return tuple(map(int, counts))


def by_loops(x, w, group):
    """Counts of `(b, m, k) x (g, b, k, n)`; group[b][m] is the group of a row, or None.

    In the order of OpCounts, the rows being the activation.
    """
    found = np.zeros(5, int)
    (b, m, k), n = x.shape, w.shape[-1]
    for i, row, c, column in itertools.product(*map(range, (b, m, k, n))):
        found[0] += 1
        g = group[i][row]
        if g is not None:
            a, v = x[i, row, c] != 0, w[g, i, c, column] != 0
            found[1:] += [1, a, v, a and v]
    return tuple(found.tolist())


def groups_of(sizes, rows):
    listed = [g for g, size in enumerate(sizes) for _ in range(size)]
    return (listed + [None] * rows)[:rows]


SIZES = [[2, 3, 2], [0, 5, 1], [0, 0, 0], [7, 0, 0], [1, 1, 9]]


def test_rows_meet_the_matrix_of_their_group():
    x, w = zeros_and_ones(7, 4), zeros_and_ones(3, 4, 2)
    count = jax.jit(cost.count(lambda w, x, sizes: lax.ragged_dot(x, w, sizes)))
    for sizes in SIZES:
        expected = by_loops(x[None], w[:, None], [groups_of(sizes, 7)])
        (found,) = count(w, x, jnp.array(sizes)).values()
        assert tuple(map(int, found)) == expected


def numbers(contracted, batch, ragged, group=()):
    dims = (contracted, batch)
    return lax.RaggedDotDimensionNumbers(dims, [ragged], list(group))


def test_group_sizes_may_differ_by_batch_and_outer_axis():
    """(k, b, x, m) x (b, k, g, n) with sizes (b, x, g)."""
    x, w = zeros_and_ones(3, 2, 2, 5), zeros_and_ones(2, 3, 2, 4)
    sizes = np.array([[[1, 2], [3, 2]], [[0, 0], [2, 1]]])
    dims = numbers(((0,), (1,)), ((1,), (0,)), 3, (2,))

    def fn(w, x, sizes):
        return lax.ragged_dot_general(x, w, sizes, dims)

    rows = np.moveaxis(x, 0, -1).reshape(2, 10, 3)
    group = [[g for s in outer for g in groups_of(s, 5)] for outer in sizes]
    expected = by_loops(rows, w.transpose(2, 0, 1, 3), group)
    assert counted(fn, w, x, sizes) == expected


def test_contracted_groups_leave_out_what_is_past_the_last():
    """(b, m, k) x (b, k, n) with sizes (b, g): a product for every group."""
    x, w = zeros_and_ones(2, 3, 6), zeros_and_ones(2, 6, 4)
    sizes = np.array([[1, 2], [4, 1]])
    dims = numbers(((2,), (1,)), ((0,), (0,)), 2)
    expected = np.zeros(5, int)
    for b, m, k, n in itertools.product(range(2), range(3), range(6), range(4)):
        expected[0] += 1
        if k < sizes[b].sum():
            a, v = x[b, m, k] != 0, w[b, k, n] != 0
            expected[1:] += [1, a, v, a and v]

    def fn(w, x, sizes):
        return lax.ragged_dot_general(x, w, sizes, dims)

    assert counted(fn, w, x, sizes) == tuple(expected.tolist())


def test_groups_of_the_batch_are_all_multiplied():
    x, w = zeros_and_ones(4, 2, 3), zeros_and_ones(4, 3, 5)
    dims = numbers(((2,), (1,)), ((0,), (0,)), 0)

    def ragged(w, x):
        return lax.ragged_dot_general(x, w, jnp.array([1, 2]), dims)

    def plain(w, x):
        return lax.dot_general(x, w, (((2,), (1,)), ((0,), (0,))))

    assert counted(ragged, w, x) == counted(plain, w, x)


X, W = zeros_and_ones(6, 4), zeros_and_ones(3, 4, 2)
SOME = jnp.array([1, 0, 4])
EXPECTED = by_loops(X[None], W[:, None], [groups_of(SOME, 6)])


def experts(w, x, sizes=SOME):
    with jax.named_scope("experts"):
        return lax.ragged_dot(x, w, sizes)


def test_loops_branches_and_vmap_add_up():
    def scanned(w, x):
        return lax.scan(lambda c, x: (c, experts(w, x)), 0, jnp.stack([x, 0 * x]))[1]

    zero = by_loops(0 * X[None], W[:, None], [groups_of(SOME, 6)])
    both = tuple(a + b for a, b in zip(EXPECTED, zero, strict=True))
    assert counted(scanned, W, X) == both
    mapped = jax.vmap(experts)
    pairs = (jnp.stack([W, W]), jnp.stack([X, 0 * X]), jnp.stack([SOME, SOME]))
    assert counted(mapped, *pairs) == both

    def branches(w, x):
        return lax.cond(x[0, 0] > 9, experts, lambda w, x: x @ w[0], w, x)

    found = [int(op.dense) for op in jax.jit(cost.count(branches))(W, X).values()]
    assert sorted(found) == [0, 48]


def test_gradients_are_ragged_products_too():
    def loss(w, x):
        return (experts(w, x) ** 2).sum()

    found = list(jax.jit(cost.count(jax.grad(loss)))(W, X).values())
    x = X * (np.arange(6) < 5)[:, None]
    output = np.asarray(experts(W, X))
    # dL/dw: of every group, its rows by the gradient at its outputs.
    effectual = sum(int((x[i] != 0).sum() * (output[i] != 0).sum()) for i in range(6))
    assert [int(op.dense) for op in found] == [48, 48]
    assert [int(op.valid) for op in found] == [40, 40]
    assert int(found[1].effectual) == effectual


def test_the_smooth_count_and_its_gradient():
    @jax.jit
    def smooth(x, a):
        return cost.surrogate(experts, a=a)(W, x)["experts"]

    assert float(smooth(X, 1e-9)) == pytest.approx(EXPECTED[-1], rel=1e-5)
    slope = jax.grad(smooth)(X, 0.5)

    def phi(v):
        return 1.5 * np.abs(v) / (0.5 + np.abs(v))

    meets = [groups_of(SOME, 6)]
    partner = np.stack(
        [np.zeros(4) if g is None else phi(W[g]).sum(1) for g in meets[0]]
    )
    inner = 1.5 * 0.5 / (0.5 + np.abs(X)) ** 2 * np.sign(X)
    np.testing.assert_allclose(slope, partner * inner, rtol=1e-5, atol=1e-6)


def test_costs_of_single_elements_differ_by_group():
    expected = [
        [0.0] * 4 if g is None else (W[g] != 0).sum(1).tolist()
        for g in groups_of(SOME, 6)
    ]
    costs = jax.jit(cost.input_sensitivity(experts))(W, X)
    assert costs["experts"].tolist() == expected
    maps = jax.jit(cost.sensitivity(lambda w, x: (x, experts(w, x))))(W, X)[0]
    np.testing.assert_allclose(maps, np.mean(expected, 0), rtol=1e-6)


def test_kernels_of_experts_are_a_stack():
    found = kernels.by_use(experts)(W, X)
    assert found[""] == kernels.Kernel(stack=(0,), window=(), inputs=(1,), outputs=(2,))
    with pytest.raises(ValueError, match="which rows meet which group is known only"):
        cost.profile(experts)(W, X)


def scaled(w, x):
    (w, by_w), by_x = w, jnp.ones((4, 1))
    return lax.scaled_dot(x, w, lhs_scale=by_x, rhs_scale=by_w)


@pytest.mark.skipif(not hasattr(lax, "scaled_dot"), reason="no such product yet")
def test_scaled_products_count_their_elements():
    x = zeros_and_ones(4, 8).astype(jnp.bfloat16)
    w = zeros_and_ones(8, 3).astype(jnp.bfloat16)
    args = ((jnp.array(w), jnp.ones((1, 3))), jnp.array(x))
    plain = counted(lambda w, x: x @ w, jnp.array(w), jnp.array(x))
    assert counted(scaled, *args) == plain
    assert counted(jax.vmap(scaled), *jax.tree.map(lambda x: x[None], args)) == plain
    profile, smooth, costs = jax.jit(
        lambda w, x: (
            cost.profile(scaled)(w, x)["scaled_dot"],
            cost.surrogate(scaled, a=1e-9)(w, x)["scaled_dot"],
            cost.input_sensitivity(scaled)(w, x)["scaled_dot"],
        )
    )(*args)
    np.testing.assert_array_equal(profile.weight, args[0][0] != 0)
    assert float(smooth) == pytest.approx(plain[-1], rel=1e-5)
    assert costs.tolist() == (args[0][0] != 0).sum(1).tolist()
    found = kernels.by_use(scaled)(*args)
    assert {path: (k.inputs, k.outputs) for path, k in found.items()} == {
        "0": ((0,), (1,))
    }


def test_scaled_matmul_is_counted_where_it_cannot_run():
    def fn(w, x):
        scale = jnp.ones((1, 4, 1), jnp.float8_e8m0fnu)
        return jax.nn.scaled_matmul(x, w, scale, scale)

    x = jax.ShapeDtypeStruct((1, 4, 32), jnp.float8_e4m3fn)
    dense: list[int] = []

    def traced(w, x):
        dense.extend(int(op.dense) for op in cost.count(fn)(w, x).values())

    jax.eval_shape(traced, x, x)
    assert dense == [4 * 4 * 32]
