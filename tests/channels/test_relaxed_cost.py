"""The relaxed cost against the count of the smaller function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, cost, trees
from tests.channels.conftest import subsets
from tests.channels.test_partitions import CASES

COUNTED = {
    name: CASES[name]
    for name in (
        *("channel_shuffle", "cropped_concatenation", "decoder", "depthwise", "gru"),
        *("glu_pairs", "grouped_queries", "heads", "tied_autoencoder"),
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("case", COUNTED.values(), ids=COUNTED)
def test_at_zero_and_one_it_is_the_count_after_removal(case):
    weights, x = case.weights(), case.input()
    groups = channels.groups(case.fn, split=case.split)(weights, x)
    keep = subsets(groups, 1)
    relaxed = channels.relaxed(case.fn, groups)
    small = channels.remove(weights, groups, keep)
    fn = channels.smaller(case.fn, groups, keep)
    counted = int(cost.total(cost.count(fn)(small, x)).dense)
    assert relaxed.exact(keep, weights, x) == (counted, trees.count(small))
    gates = {name: kept.astype(np.float32) for name, kept in keep.items()}
    found = [float(number) for number in relaxed(gates, weights, x)]
    np.testing.assert_allclose(found, [counted, trees.count(small)], rtol=1e-6)


def test_the_gradient_says_what_a_unit_costs():
    case = CASES["squeeze_excite"]
    weights, x = case.weights(), case.input()
    groups = channels.groups(case.fn)(weights, x)
    relaxed = channels.relaxed(case.fn, groups)
    gates = {name: jnp.ones(group.size) for name, group in groups.items()}
    slopes = jax.grad(lambda g: relaxed(g, weights, x)[0])(gates)
    for name, group in groups.items():
        without = {name: np.arange(group.size) != 0}
        whole = relaxed.exact({}, weights, x)[0]
        saved = whole - relaxed.exact(without, weights, x)[0]
        np.testing.assert_allclose(slopes[name][0], saved, rtol=1e-6)


def test_what_data_decide_has_no_relaxed_count():
    def fn(w, x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ w["a"], x)

    weights, x = {"a": jnp.eye(2)}, jnp.ones((1, 2))
    relaxed = channels.relaxed(fn, channels.groups(fn)(weights, x))
    with pytest.raises(ValueError, match="depends on data"):
        relaxed({}, weights, x)


def test_bad_gates_are_named():
    case = CASES["glu_halves"]
    weights, x = case.weights(), case.input()
    relaxed = channels.relaxed(case.fn, channels.groups(case.fn)(weights, x))
    with pytest.raises(ValueError, match=r"gates\['up'\] must have shape \(8,\)"):
        relaxed({"up": jnp.ones(3)}, weights, x)
    with pytest.raises(ValueError, match="group must be one of"):
        relaxed({"down": jnp.ones(8)}, weights, x)
