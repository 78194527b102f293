"""Zeros of operands, against NumPy and against the masks of `cost.profile`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import sparse

from dst_jax import cost

RANDOM = np.random.default_rng(0)


def zeros_and_ones(*shape):
    return (RANDOM.random(shape) < 0.5).astype(np.float32)


W = {
    "conv": zeros_and_ones(3, 3, 2, 4),
    "qk": zeros_and_ones(4, 6),
    "fold": zeros_and_ones(4, 4),
    "experts": zeros_and_ones(2, 4, 3),
}
X = zeros_and_ones(2, 5, 5, 2)
CONSTANT = zeros_and_ones(6, 3)


def zeros_of(*arrays):
    return [sum(int((a == 0).sum()) for a in arrays), sum(a.size for a in arrays)]


def net(w, x):
    """A product of each kind, and what each multiplies."""
    seen = {}
    numbers = ("NHWC", "HWIO", "NHWC")
    seen["conv"] = ([x], [w["conv"]])
    x = lax.conv_general_dilated(
        x, w["conv"], (1, 1), "SAME", dimension_numbers=numbers
    )
    x = jax.nn.relu(x - 2).mean((1, 2))
    seen["query"] = ([x], [w["qk"]])
    query = x @ w["qk"] - 1
    seen["attend"] = ([query, query], [])
    attended = query @ query.T
    seen["constant"] = ([query], [CONSTANT])
    fixed = query @ CONSTANT
    seen["fold"] = ([], [w["fold"], w["qk"]])
    folded = w["fold"] @ w["qk"]
    seen["experts"] = ([x], [w["experts"]])
    ragged = lax.ragged_dot(x, w["experts"], jnp.array([1, 1]))
    return (attended.sum() + fixed.sum() + folded.sum() + ragged.sum()), seen


def test_each_operand_is_counted_on_its_side():
    _, seen = net(W, X)
    found = jax.jit(cost.input_zeros(lambda w, x: net(w, x)[0]))(W, X)
    expected = [zeros_of(*i) + zeros_of(*w) for i, w in seen.values()]
    assert [list(map(int, op)) for op in found.values()] == expected
    assert found.keys() == jax.eval_shape(cost.count(net), W, X).keys()


def test_equals_the_masks_of_a_profile():
    def fn(w, x):
        return jax.nn.relu(x @ w["qk"][:2] - 1) @ CONSTANT

    rows = X.reshape(-1, 2)
    found, profiles = jax.jit(
        lambda w, x: (cost.input_zeros(fn)(w, x), cost.profile(fn)(w, x))
    )(W, rows)
    for name, op in found.items():
        np.testing.assert_allclose(op.input_sparsity, profiles[name].input_sparsity)
        assert int(op.zero_weights) == int((~profiles[name].weight).sum())
    assert np.isnan(cost.OperandZeros(0, 0, 1, 2).input_sparsity)


def test_loops_add_up_and_branches_count_what_is_taken():
    w, x = W["fold"], zeros_and_ones(3, 4)

    def fn(w, x):
        def step(x, _):
            return jax.nn.relu(x @ w - 1), None

        def other(w, x):
            return x @ w @ w

        x = lax.scan(step, x, None, length=2)[0]
        return lax.cond(x.sum() < 0, other, lambda w, x: x @ w, w, x)

    found = [list(map(int, op)) for op in jax.jit(cost.input_zeros(fn))(w, x).values()]
    maps = [x, np.maximum(x @ w - 1, 0)]
    last = np.maximum(maps[1] @ w - 1, 0)
    assert found[0] == zeros_of(*maps) + zeros_of(w, w)
    assert sorted(found[1:]) == [[0] * 4, [0] * 4, zeros_of(last) + zeros_of(w)]
    each = jax.jit(cost.input_zeros(lambda w, x: x @ w, per_example=True))(w, x)
    counts = each["dot_general"].zero_inputs.tolist()
    assert counts == (x == 0).sum(1).tolist()


def test_of_a_sparse_matrix_the_stored_values():
    matrix = sparse.BCOO.fromdense(W["fold"], nse=16)
    x = zeros_and_ones(4, 3)
    (found,) = jax.jit(cost.input_zeros(lambda w, x: w @ x))(matrix, x).values()
    stored = int((W["fold"] != 0).sum())
    assert list(map(int, found)) == [*zeros_of(x), 16 - stored, 16]
    with pytest.raises(ValueError, match="multiplications of 'cholesky'"):
        cost.input_zeros(lambda w, x: jnp.linalg.cholesky(w))(W["fold"], x)
