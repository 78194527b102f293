"""N of every M channels of activation maps."""

import inspect
import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, channels, cost
from dst_jax.activations import (
    apply_with_activations,
    keep_n_of_m,
    patterns_of,
    with_patterns,
    with_thresholds,
)

PATTERNS = ((2, 4), (4, 8), (8, 16), (16, 32))
GOLDEN = Path(__file__).parent.parent / "data" / "qwix_n_of_m.json"


def _x(seed):
    return np.random.default_rng(seed).normal(size=(3, 2, 64)).astype("float32")


def _by_hand(x, n, m):
    """The n largest of every m along the last axis, by NumPy's stable sort."""
    grouped = np.abs(np.asarray(x, np.float64)).reshape(-1, m)
    order = np.argsort(-grouped, axis=1, kind="stable")
    kept = np.zeros(grouped.shape, bool)
    np.put_along_axis(kept, order[:, :n], True, axis=1)
    return np.where(kept.reshape(x.shape), x, 0)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_keeps_the_n_largest_and_all_of_the_gradient(n, m):
    x = _x(m).round(1)  # with ties
    found, vjp = jax.vjp(lambda x: keep_n_of_m(x, n, m), jnp.asarray(x))
    np.testing.assert_array_equal(found, _by_hand(x, n, m))
    assert ((np.asarray(found) != 0).reshape(-1, m).sum(1) <= n).all()
    cotangent = jnp.arange(x.size, dtype=jnp.float32).reshape(x.shape)
    np.testing.assert_array_equal(vjp(cotangent)[0], cotangent)


def test_n_may_be_a_constant_of_a_traced_function():
    n = jnp.int32(2)
    found = jax.jit(lambda x: keep_n_of_m(x, n, 4))(_x(4))
    np.testing.assert_array_equal(found, _by_hand(_x(4), 2, 4))


def test_masks_equal_those_of_qwix():
    """The masks were recorded by record_qwix.py, next to this file."""
    recorded = json.loads(GOLDEN.read_text())
    assert {(case["n"], case["m"]) for case in recorded} >= set(PATTERNS)
    for case in recorded:
        x = np.array(case["x"], np.float32).reshape(case["shape"])
        found = np.asarray(keep_n_of_m(jnp.asarray(x), case["n"], case["m"]))
        kept = np.unpackbits(np.array(case["kept"], np.uint8), count=x.size)
        np.testing.assert_array_equal(found, np.where(kept.reshape(x.shape), x, 0))


def test_wider_groups_lose_less():
    """The order that arXiv 2509.22166 publishes: 16:32, 8:16, 4:8, 2:4.

    A group of 8 that keeps 4 may keep what both of its halves keep, so what is lost can
    only become less: the order holds for every array.
    """
    x = _x(0)
    kept = [np.asarray(keep_n_of_m(jnp.asarray(x), n, m)) for n, m in PATTERNS]
    lost = [np.square(x - y).sum() for y in kept]
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > 1.5 * lost[-1]
    assert lost[-1] > np.square(np.sort(np.abs(x).ravel())[: x.size // 2]).sum()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_dtypes_and_numbers_that_are_not_finite(dtype):
    x = jnp.array([jnp.nan, -jnp.inf, 3.0, 4.0], dtype)
    found = keep_n_of_m(x, 1, 4)
    assert found.dtype == dtype
    assert jnp.isnan(found[0])
    assert found[1:].tolist() == [-jnp.inf, 0, 0]


def test_one_program_for_every_n():
    traces = []

    @jax.jit
    def run(x, n):
        traces.append(n)
        return keep_n_of_m(x, n, 4)

    x = jnp.arange(8.0)
    assert [(run(x, n) != 0).sum().item() for n in (1, 2, 4)] == [2, 4, 7]
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("shape", "n", "m", "said"),
    [
        ((3, 6), 2, 4, r"m must divide the channels, got m=4 and shape \(3, 6\)"),
        ((), 1, 1, r"m must divide the channels, got m=1 and shape \(\)"),
        ((3, 8), 0, 4, r"n must be an integer in \[1, m\] with m = 4, got 0"),
        ((3, 8), 5, 4, r"n must be an integer in \[1, m\] with m = 4, got 5"),
        ((3, 8), 2.5, 4, r"n must be an integer in \[1, m\] with m = 4, got 2.5"),
        ((3, 8), float("nan"), 4, r"n must be an integer in \[1, m\] .*, got nan"),
        ((3, 8), 1, 0, "m must be at least 1, got 0"),
    ],
)
def test_refuses(shape, n, m, said):
    with pytest.raises(ValueError, match=said):
        inspect.unwrap(keep_n_of_m)(jnp.ones(shape), n, m)


class _Net(nn.Module):
    """Two convolutions with a tapped ReLU of 8 channels between them."""

    @nn.compact
    def __call__(self, x):
        x = activations.Tap(name="relu")(nn.relu(nn.Conv(8, (1, 1), name="conv1")(x)))
        return nn.Conv(3, (3, 3), name="conv2")(x)


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    shapes = jax.eval_shape(_Net().init, jax.random.key(0), x)

    def draw(leaf):
        return jnp.asarray(rng.normal(size=leaf.shape), jnp.float32)

    return _Net(), jax.tree.map(draw, shapes), x


def test_networks_read_patterned_maps_and_counts_see_them(network):
    model, variables, x = network
    changed = with_thresholds(with_patterns(variables, {"relu": "2:4"}), {"relu": 0.1})
    assert patterns_of(changed) == {"relu": "2:4"}

    def forward(variables, x):
        return apply_with_activations(model, variables, x)[:2]

    _, before = jax.jit(forward)(variables, x)
    counted = cost.count(forward, with_output=True)
    (_, maps), counts = jax.jit(counted)(changed, x)
    first = np.asarray(before["relu"])
    expected = _by_hand(np.where(first >= 0.1, first, 0), 2, 4)
    assert (first != 0).sum() > (expected != 0).sum()
    np.testing.assert_array_equal(maps["relu"], expected)
    # A 3x3 convolution of 8x8 pixels with a border: every input meets 9, 6 or 4 taps.
    reach = np.convolve(np.ones(8), np.ones(3), "same")
    met = (expected != 0).sum((0, 3)) * np.outer(reach, reach)
    assert int(counts["conv2"].by_activation) == met.sum() * 3


def test_a_tap_that_is_not_there_and_channels_that_do_not_divide(network):
    model, variables, x = network
    with pytest.raises(ValueError, match="the map of a pattern must be one of"):
        apply_with_activations(model, with_patterns(variables, {"relu9": "2:4"}), x)
    with pytest.raises(
        ValueError, match="'relu' needs channels that 32 divides, got 8"
    ):
        model.apply(with_patterns(variables, {"relu": "16:32"}), x)
    for text in ("2-4", "0:4", "5:4", "2:0"):
        with pytest.raises(ValueError, match=r"N:M|n must be|m must be"):
            with_patterns(variables, {"relu": text})


def test_no_channels_are_removed_from_a_patterned_map(network):
    """A group of four would become another one, and so would the values."""
    model, variables, x = network
    changed = with_patterns(variables, {"relu": "2:4"})

    def forward(variables, x):
        return apply_with_activations(model, variables, x)[:2]

    whole = channels.groups(forward, has_aux=True)(variables, x)
    found = channels.groups(forward, has_aux=True)(changed, x)
    assert set(whole) - set(found) == {"conv1"}
    (reason,) = found.fixed["params/conv1/kernel", 3]
    assert reason.path.endswith("relu")
