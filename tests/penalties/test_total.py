from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.penalties import hoyer_square, l1, total, transformed_l1

MAPS = {
    "conv1/relu": jnp.arange(12.0).reshape(3, 4),
    "layer1/relu1": jnp.ones((3, 2, 2)),
    "layer1/relu2": -2 * jnp.ones((3, 5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [l1, hoyer_square, partial(transformed_l1, a=0.5)])
def test_equals_the_double_sum(penalty):
    expected = np.mean(
        [sum(float(penalty(x[i])) for x in MAPS.values()) for i in range(3)]
    )
    np.testing.assert_allclose(total(MAPS, penalty), expected, rtol=1e-6)


def test_first_matching_rule_wins():
    rules = [("relu1", 2.0), ("layer1", 3.0)]
    expected = 22.0 + 2 * 4.0 + 3 * 10.0
    np.testing.assert_allclose(total(MAPS, l1, weights=rules), expected)


def test_unbatched_sums_whole_leaves_and_leaves_none_out():
    weights = {"kernel": jnp.ones((2, 3)), "bias": None}
    assert total(weights, l1, batched=False, weights=0.5) == 3.0


def test_a_rule_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"'fc' matches none of: conv1/relu"):
        total(MAPS, l1, weights=[("fc", 1.0)])


def test_a_scalar_leaf_has_no_batch():
    with pytest.raises(ValueError, match="scale is a scalar"):
        total({"scale": jnp.float32(1)}, l1)


def test_strength_and_layer_weights_do_not_recompile():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def grad(a, w):
        penalty = partial(transformed_l1, a=a)
        return jax.grad(lambda m: total(m, penalty, weights=[("relu1", w)]))(MAPS)

    for a, w in [(0.1, 1.0), (1.0, 2.0), (10.0, 0.0)]:
        grad(a, w)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("tree", [{}, {"kernel": None}])
def test_a_tree_without_arrays_is_an_error(tree, batched):
    with pytest.raises(ValueError, match="tree has no arrays to penalise"):
        total(tree, l1, batched=batched)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
@pytest.mark.parametrize("penalty", [l1, hoyer_square])
def test_an_empty_map_is_named_and_an_empty_kernel_adds_nothing(shape, penalty):
    empty = jnp.ones(shape)
    with pytest.raises(ValueError, match=r"relu2 is empty: its shape is \("):
        total({"relu1": jnp.ones((2, 3)), "relu2": empty}, penalty)
    found = total({"a": jnp.ones(4), "b": empty}, penalty, batched=False)
    assert found == pytest.approx(4.0)


@pytest.mark.parametrize("penalty", [l1, partial(transformed_l1, a=0.5)])
def test_an_array_weighs_element_by_element(penalty):
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.uniform(size=(2, 2)))
    x = MAPS["layer1/relu1"] * jnp.arange(3.0)[:, None, None]
    expected = np.mean(
        [
            sum(
                float(weights[i]) * float(penalty(example[i])) for i in np.ndindex(2, 2)
            )
            for example in x
        ]
    )
    rules = [("relu1", weights)]
    np.testing.assert_allclose(
        total({"relu1": x}, penalty, weights=rules), expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        total({"relu1": x[1]}, penalty, weights=rules, batched=False),
        sum(float(weights[i]) * float(penalty(x[1][i])) for i in np.ndindex(2, 2)),
        rtol=1e-6,
    )


def test_an_array_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"must be a number or have shape \(2, 2\)"):
        total(MAPS, l1, weights=[("layer1/relu1", jnp.ones((3, 2, 2)))])
