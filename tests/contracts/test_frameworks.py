"""One network in every library: the same loss, gradients, masks, counts and groups."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import channels, cost, penalties, pruning
from tests.contracts.frameworks import (
    FRAMEWORKS,
    NAMES,
    X,
    canonical,
    of_channels,
    plain,
)

LABELS = jnp.array([0, 2])
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
KEEP = {"conv1": np.array([1, 0, 1, 0], bool), "fc1": np.arange(8) < 5}
# (dense, valid, by_weight), done by hand
COUNTS = {
    # 2 images, 5 x 5 outputs, 4 filters, 3 x 3 taps, 2 channels; 13 of 15 taps per
    # axis do not read padding; one of two channels has weights.
    "conv1": (3600, 2704, 1352),
    # 2 rows, 4 channels, 8 units; one channel has no weights.
    "fc1": (64, 64, 48),
    "fc2": (48, 48, 48),
}
pytestmark = pytest.mark.slow
every = pytest.mark.parametrize("make", FRAMEWORKS, ids=lambda make: make.__name__)
built = functools.cache(lambda make: make())


def same(found, expected, **tolerance):
    found, expected = canonical(found), canonical(expected)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], **tolerance)


def loss(tapped, weights, x):
    """Cross entropy, a penalty on activation maps, and one on weights."""
    logits, maps = tapped(weights, x)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()
    of_weights = penalties.total(pruning.masks.prunable(weights), l1, batched=False)
    of_maps = penalties.total(maps, l1, weights=[("relu2", 2.0)])
    return entropy + 0.01 * of_maps + 0.001 * of_weights, maps


def l1(x, *, axis=None):
    return penalties.l1(x, axis=axis)


class Trained(NamedTuple):
    """Two steps of training under a mask.

    Attributes:
      found: loss, maps and gradients of the first step.
      weights: what the network computes with after the second.
      state: state of the optimizer.
    """

    found: Any
    weights: Any
    state: Any


@functools.cache
def trained(make):
    framework = built(make)
    tx = pruning.create("ste", optax.sgd(0.1, momentum=0.9), sparsity=0.5)
    graded = jax.value_and_grad(functools.partial(loss, framework.tapped), has_aux=True)

    @jit
    def step(weights, state):
        found = graded(pruning.sparse_params(weights, state), X)
        updates, state = tx.update(found[1], state, weights)
        return optax.apply_updates(weights, updates), state, found

    state = jit(tx.init)(framework.weights)
    weights, state, found = step(framework.weights, state)
    weights, state, _ = step(weights, state)
    return Trained(found, pruning.sparse_params(weights, state), state)


@every
def test_loss_maps_gradients_and_sparse_training_are_equal(make):
    one, other = trained(make), trained(plain)
    ((value, maps), grads), ((expected, reference), wanted) = one.found, other.found
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert list(maps) == ["relu1", "relu2"]
    for name, x in of_channels(maps, make).items():
        np.testing.assert_allclose(x, reference[name], rtol=1e-5, atol=1e-6)
    assert type(grads) is type(built(make).weights)
    same(grads, wanted, rtol=1e-4, atol=1e-6)
    same(one.weights, other.weights, rtol=1e-4, atol=1e-6)
    same(pruning.get_mask(one.state), pruning.get_mask(other.state))
    assert len(pruning.statistics(one.state)) == len(NAMES)


@every
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_masks_are_equal(make, scope):
    expected = pruning.masks.magnitude(built(plain).weights, 0.5, scope=scope)
    found = pruning.masks.magnitude(built(make).weights, 0.5, scope=scope)
    assert {layer for layer, _ in canonical(found)} == set(NAMES)
    same(found, expected)


@every
def test_counts_have_the_paths_of_the_network(make):
    framework = built(make)
    counts = jit(cost.count(framework.fn))(framework.weights, X)
    assert list(counts) == list(NAMES)
    for name, expected in COUNTS.items():
        dense, valid, by_activation, by_weight, effectual = map(int, counts[name])
        assert (dense, valid, by_weight) == expected
        assert 0 < effectual <= min(by_activation, by_weight)
    reference = jit(cost.count(built(plain).fn))(built(plain).weights, X)
    for name, op in reference.items():
        assert list(map(int, counts[name])) == list(map(int, op))


def grouped(make):
    framework = built(make)
    return channels.groups(framework.fn)(framework.weights, X)


@every
def test_groups_are_equal(make):
    groups = grouped(make)
    assert [(name, g.size, g.exact) for name, g in groups.items()] == [
        ("conv1", 4, True),
        ("fc1", 8, True),
    ]
    for name, following in (("conv1", "fc1"), ("fc1", "fc2")):
        found = {
            (path.split("/")[-2], role)
            for (path, _, _), role in zip(
                groups[name].members, groups[name].roles, strict=True
            )
        }
        assert found == {(name, "produces"), (name, "shifts"), (following, "reads")}


@every
def test_outputs_after_removal_are_equal(make):
    framework, groups = built(make), grouped(make)
    small = channels.remove(framework.weights, groups, KEEP)
    assert type(small) is type(framework.weights)
    found = jit(channels.smaller(framework.fn, groups, KEEP))(small, X)
    reference = built(plain)
    masked = channels.mask(reference.weights, grouped(plain), KEEP)
    expected = reference.fn(masked, X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if framework.module is not None:
        again = framework.module(groups, KEEP)
        np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)
