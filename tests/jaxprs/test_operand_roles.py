"""Which operand is the weight, followed through a program."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from dst_jax import cost

W = jnp.array([[1.0, 0.0], [0.0, 0.0]])
X = jnp.ones((3, 2))
# x @ w: 12 products, of which 3 have a nonzero weight and all a nonzero activation.
WEIGHT_FOUND, SWAPPED, NO_WEIGHT = (12, 3), (3, 12), (3, 12)


def by(fn: Any, *args: Any, weights: int | tuple[int, ...] = 0) -> tuple[int, int]:
    (op,) = cost.count(fn, weights=weights)(*args).values()
    return int(op.by_activation), int(op.by_weight)


WAYS = {
    "direct": lambda w: w,
    "cast": lambda w: w.astype(jnp.bfloat16).astype(jnp.float32),
    "transpose": lambda w: w.T,
    "scale": lambda w: w * 3.0,
    "constant mask": lambda w: w * jnp.eye(2),
    "own mask": lambda w: jnp.where(jnp.abs(w) > 0.5, w, 0),
    "jit": lambda w: jax.jit(lambda a: a * 2)(w),
    "scan": lambda w: jax.lax.fori_loop(0, 2, lambda _, a: a * 2, w),
    "branch": lambda w: jax.lax.cond(w[0, 0] > 0, lambda a: a, lambda a: 2 * a, w),
    "quantised": lambda w: jnp.round(w * 7) / 7,
    "stopped": jax.lax.stop_gradient,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_computed_from_weights_alone_is_a_weight(way):
    assert by(lambda w, x: x @ WAYS[way](w), W, X) == WEIGHT_FOUND


def test_the_side_does_not_matter():
    assert by(lambda w, x: w @ x.T, W, X) == WEIGHT_FOUND


def test_any_argument_can_hold_the_weights():
    assert by(lambda x, w: x @ w, X, W, weights=1) == WEIGHT_FOUND
    assert by(lambda x, w: x @ w["fc"], X, {"fc": W}, weights=1) == WEIGHT_FOUND
    assert by(lambda w, x: x @ w, W, X, weights=1) == SWAPPED


def test_masks_given_apart_are_weights_if_named():
    def masked(w, x, mask):
        return x @ (w * mask)

    mask = jnp.array([[True, True], [False, False]])
    assert by(masked, W, X, mask, weights=(0, 2)) == WEIGHT_FOUND
    # Otherwise the product depends on data, as the activation does.
    assert by(masked, W, X, mask) == NO_WEIGHT


def test_a_constant_is_the_other_operand():
    assert by(lambda _, x: x @ W, 0.0, X) == WEIGHT_FOUND
    assert by(lambda w, _: X @ w, W, 0.0) == WEIGHT_FOUND
    assert by(lambda a, b: X @ W, 0.0, 0.0) == NO_WEIGHT


def test_a_product_of_weights_has_no_weight():
    assert by(lambda w, _: w[0] @ w[1], (X, W), X) == NO_WEIGHT


def test_calls_keep_weights_and_data_apart():
    @jax.jit
    def both(w, x):
        return w * 2, x + 1

    def fn(w, x):
        w, x = both(w, x)
        return x @ w

    assert by(fn, W, X) == WEIGHT_FOUND


def test_keyword_arguments_are_data():
    counts = cost.count(lambda w, *, x: x @ w)(W, x=X)
    assert int(counts["dot_general"].by_weight) == 3


def test_the_result_of_an_operation_is_data():
    counts = cost.count(lambda w, x: (x @ w) @ w)(W, X)
    assert int(counts["dot_general_1"].by_activation) == 3 * 2
    assert int(counts["dot_general_1"].by_weight) == 3


def test_a_carry_that_meets_data_later_is_data_from_the_start():
    def swap(w, x):
        # The first matrix multiplies as the weight, later as the activation.
        return jax.lax.scan(
            lambda c, _: ((c[1], c[0]), c[0] @ W), (w, x), None, length=2
        )

    def keep(w, x):
        return jax.lax.scan(lambda c, _: (c, c[1] @ c[0]), (w, x), None, length=2)

    assert by(keep, W, jnp.ones((2, 2))) == (2 * 8, 2 * 2)
    # The constant is the weight of both.
    assert by(swap, W, jnp.ones((2, 2))) == (2 + 8, 2 * 2)


def test_a_while_loop_keeps_weights_and_data_apart():
    def fn(w, x):
        return jax.lax.while_loop(
            lambda c: c[2] < 2, lambda c: (c[0], c[1] @ c[0], c[2] + 1), (w, x, 0)
        )

    assert by(fn, W, jnp.ones((3, 2))) == (12 + 6, 2 * 3)


def test_a_weight_that_data_select_stays_a_weight():
    def fn(w, x):
        return x @ jax.lax.cond(x[0, 0] > 0, lambda: w, lambda: 2 * w)

    assert by(fn, W, X) == WEIGHT_FOUND


def test_operands_keep_their_roles_inside_a_branch():
    def fn(w, x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x)

    assert by(fn, W, X) == WEIGHT_FOUND


def test_a_branch_that_may_return_data_returns_data():
    def fn(w, x):
        return x @ jax.lax.cond(True, lambda: w, lambda: w * x[0, 0])

    assert by(fn, W, X) == NO_WEIGHT
