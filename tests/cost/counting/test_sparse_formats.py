"""Products of JAX's sparse matrices, entry by entry."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse

from dst_jax import cost, kernels

RANDOM = np.random.default_rng(0)


def zeros_and_ones(*shape):
    return (RANDOM.random(shape) < 0.5).astype(np.float32)


def bcoo(batch, entries, sizes, dense=()):
    """Random entries, zeros, duplicates and indices past the matrix among them."""
    data = zeros_and_ones(*batch, entries, *dense)
    indices = np.stack(
        [RANDOM.integers(0, n + 1, (*batch, entries)) for n in sizes], -1
    )
    shape = (*batch, *sizes, *dense)
    return sparse.BCOO((jnp.array(data), jnp.array(indices, np.int32)), shape=shape)


def entries_of(matrix):
    """(position, whether it is nonzero) of every entry inside of a BCOO matrix."""
    data, indices = np.asarray(matrix.data), np.asarray(matrix.indices)
    for at in np.ndindex(*indices.shape[:-1]):
        sizes = matrix.shape[len(at) - 1 :]
        if all(i < n for i, n in zip(indices[at], sizes, strict=False)):
            for dense in np.ndindex(*data.shape[len(at) :]):
                where = (*at[:-1], *map(int, indices[at]), *dense)
                yield where, bool(data[at + dense] != 0)


def elements_of(array):
    return [(at, bool(array[at] != 0)) for at in np.ndindex(*array.shape)]


def by_pairs(lhs, rhs, contracted=((1,), (0,)), batch=((), ())):
    """(valid, by lhs, by rhs, effectual) of all pairs that meet."""
    found = np.zeros(4, int)
    meets = [(*b, *c) for c, b in zip(contracted, batch, strict=True)]
    for (left, a), (right, b) in itertools.product(lhs, rhs):
        if [left[i] for i in meets[0]] == [right[i] for i in meets[1]]:
            found += [1, a, b, a and b]
    return found.tolist()


def counted(fn, *args):
    ((_, counts),) = jax.jit(cost.count(fn))(*args).items()
    return list(map(int, counts))


DENSE = jnp.array(zeros_and_ones(5, 3))


def test_stored_entries_meet_the_elements_of_an_array():
    matrix = bcoo((), 9, (4, 5))

    @jax.jit
    def both_ways(matrix, dense):
        right = cost.count(lambda w, x: w @ x)(matrix, dense)
        # Its entries may be the input's, and it may be on the right.
        left = cost.count(lambda w, x: w @ x)(dense.T, matrix.T)
        return *right.values(), *left.values()

    found, other = both_ways(matrix, DENSE)
    valid, by_lhs, by_rhs, effectual = by_pairs(entries_of(matrix), elements_of(DENSE))
    assert valid < 60
    assert list(map(int, found)) == [60, valid, by_rhs, by_lhs, effectual]
    assert list(map(int, other)) == [60, valid, by_lhs, by_rhs, effectual]


BATCHED = {
    "batch": (bcoo((2,), 7, (4, 5)), ((2,), (1,)), ((0,), (0,)), (2, 5, 3)),
    "contracted batch": (bcoo((2,), 7, (4,)), ((0, 1), (1, 0)), ((), ()), (4, 2, 3)),
    "free batch": (bcoo((2, 3), 4, (5,)), ((2,), (0,)), ((1,), (1,)), (5, 3)),
    "dense axis": (bcoo((), 6, (4, 5), (2,)), ((1,), (0,)), ((), ()), (5, 3)),
    "vector": (bcoo((), 6, (5,)), ((0,), (1,)), ((), ()), (2, 5)),
}


def test_any_axes_of_a_matrix_may_be_contracted():
    @jax.jit
    def all_of(matrices, arrays):
        return {
            name: cost.count(
                lambda x, w, name=name: sparse.bcoo_dot_general(
                    x, w, dimension_numbers=BATCHED[name][1:3]
                )
            )(matrices[name], arrays[name])
            for name in BATCHED
        }

    arrays = {k: zeros_and_ones(*shape) for k, (*_, shape) in BATCHED.items()}
    matrices = {k: matrix for k, (matrix, *_) in BATCHED.items()}
    found = all_of(matrices, arrays)
    for name, (matrix, contracted, batch, _) in BATCHED.items():
        (op,) = found[name].values()
        pairs = by_pairs(
            entries_of(matrix), elements_of(arrays[name]), contracted, batch
        )
        order = (op.valid, op.by_weight, op.by_activation, op.effectual)
        assert list(map(int, order)) == pairs, name
        free = [n for i, n in enumerate(arrays[name].shape) if i not in contracted[1]]
        size = np.prod([n for n in free if n])
        size //= np.prod([arrays[name].shape[i] for i in batch[1]], dtype=int)
        assert int(op.dense) == np.prod(matrix.shape) * size


def test_two_sparse_matrices_meet_entry_by_entry():
    lhs, rhs = bcoo((), 9, (4, 5)), bcoo((), 8, (5, 3))
    found = counted(lambda x, w: (x @ w).todense(), lhs, rhs)
    valid, by_lhs, by_rhs, effectual = by_pairs(entries_of(lhs), entries_of(rhs))
    assert found == [60, valid, by_rhs, by_lhs, effectual]


def test_compressed_rows_are_entries_too():
    array = zeros_and_ones(4, 5)
    array[2] = 0  # an empty row
    matrix = sparse.BCSR.fromdense(jnp.array(array), nse=14)
    stored = [(at, True) for at, nonzero in elements_of(array) if nonzero]
    valid, by_lhs, by_rhs, effectual = by_pairs(stored, elements_of(DENSE))
    found = counted(lambda x, w: x @ w, matrix, DENSE)
    assert found == [60, valid, by_rhs, by_lhs, effectual]


def test_gradients_are_taken_at_stored_positions_only():
    matrix, array = bcoo((), 9, (4, 5)), zeros_and_ones(5, 3)

    def loss(data, x, y):
        return (sparse.BCOO((data, matrix.indices), shape=(4, 5)) @ x * y).sum()

    y = zeros_and_ones(4, 3)
    products = jax.jit(cost.count(jax.grad(loss)))(matrix.data, array, y)
    sampled = next(v for k, v in products.items() if k.endswith("sampled"))
    valid = by_y = by_x = effectual = 0
    for (i, j), _ in entries_of(matrix):
        for k in range(3):
            a, b = bool(y[i, k]), bool(array[j, k])
            valid, by_y, by_x = valid + 1, by_y + a, by_x + b
            effectual += a and b
    # Both operands are data: neither is the weight.
    found = list(map(int, sampled))
    assert found == [60, valid, effectual, valid, effectual]


@pytest.mark.slow
def test_surrogates_costs_and_loops_read_the_entries():
    matrix = bcoo((), 9, (4, 5))

    def product(w, x):
        return w @ x

    def scanned(w, x):
        return jax.lax.scan(lambda c, x: (c, w @ x), 0, jnp.stack([x, x]))[1]

    @jax.jit
    def found(w, x):
        counts = [*cost.count(product)(w, x).values()]
        twice = [*cost.count(scanned)(w, x).values()]
        costs = cost.input_sensitivity(product)(w, x)
        profile = cost.profile(product)(w, x)
        return counts, twice, costs["bcoo_dot_general"], *profile.values()

    counts, twice, costs, profile = found(matrix, DENSE)
    plain = list(map(int, counts[0]))
    assert list(map(int, twice[0])) == [2 * n for n in plain]
    expected = np.zeros((5, 3))
    for (_, j), nonzero in entries_of(matrix):
        expected[j] += nonzero
    np.testing.assert_array_equal(costs, expected)
    mask = np.zeros((4, 5), bool)
    for at, nonzero in entries_of(matrix):
        mask[at] |= nonzero
    np.testing.assert_array_equal(profile.weight.T, mask)

    @jax.jit
    def smooth(data, x, a):
        tree = sparse.BCOO((data, matrix.indices), shape=matrix.shape)
        return cost.surrogate(lambda w, x: w @ x, a=a)(tree, x)["bcoo_dot_general"]

    assert float(smooth(matrix.data, DENSE, 1e-9)) == pytest.approx(plain[-1], rel=1e-5)
    data = matrix.data + 0.5
    step = 1e-2 * jnp.ones_like(data)
    slope = jax.grad(smooth)(data, DENSE, 0.5)
    difference = smooth(data + step, DENSE, 0.5) - smooth(data - step, DENSE, 0.5)
    assert float(slope @ step) == pytest.approx(float(difference) / 2, rel=1e-2)
    with pytest.raises(ValueError, match="cannot follow 0, 1 into 'bcoo_dot_general'"):
        kernels.by_use(lambda w, x: w @ x)(matrix, DENSE)
    with pytest.raises(ValueError, match="stored at positions that data decide"):
        cost.profile(lambda w, x: (w @ x).todense())(matrix, matrix.T)
