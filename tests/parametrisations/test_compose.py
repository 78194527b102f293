"""The order of parametrisations, and masks on what is trained under others."""

from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import kernels, pruning
from dst_jax.parametrisations import (
    State,
    compose,
    finish_mask,
    gated,
    identity,
    shared,
    straight_through,
)


@dataclass(frozen=True)
class Named:
    """Says in what order it is called, and what state it sees."""

    name: str

    def init(self, weights, *, seed=0):
        return (self.name, weights, seed)

    def __call__(self, trained, state):
        name, weights, _ = trained
        assert name == self.name
        assert state == "state"
        return weights

    def finish(self, trained, state):
        return f"{self.name} finished {self(trained, state)}"


A, B, C = map(Named, "ABC")
KERNEL = jnp.arange(1.0, 5).reshape(2, 2)
WEIGHTS = {"a": {"kernel": KERNEL}, "b": {"kernel": -KERNEL}, "fc": {"bias": KERNEL[0]}}
GROUP = SimpleNamespace(size=2, members=[("a/kernel", 0, (0, 1))], roles=["reads"])
PARTS = {
    "shared": shared([("b/kernel", "a/kernel")]),
    "gated": gated({"in": GROUP}),
}


def test_the_first_is_the_nearest_to_what_is_trained():
    both = compose(A, B)
    trained = both.init("weights", seed=3)
    assert trained == ("A", ("B", "weights", 3), 3)
    assert both(trained, "state") == "weights"


def test_each_part_is_finished():
    trained = ("A", ("B", "w", 0), 0)
    finished = compose(A, Last()).finish(("A", "w", 0), "state")
    assert finished == "last, after A finished w"
    assert compose(A, B)(trained, "state") == "w"


@dataclass(frozen=True)
class Last:
    def init(self, weights, *, seed=0):
        return weights

    def __call__(self, trained, state):
        return trained

    def finish(self, trained, state):
        return f"last, after {trained}"


def test_no_mask_stays_none():
    for p in (identity, *PARTS.values(), compose(*PARTS.values())):
        assert finish_mask(p, None) is None


def test_it_is_associative_and_the_identity_is_neutral():
    flat = compose(A, B, C)
    assert compose(A, compose(B, C)) == compose(compose(A, B), C) == flat
    assert hash(compose(A, compose(B, C))) == hash(flat)
    assert compose(identity, A) == compose(A, identity) == compose(A) == A
    assert compose() == compose(identity, identity) == identity
    assert compose(A, B) != compose(B, A)


def test_what_is_no_parametrisation_is_refused():
    with pytest.raises(TypeError, match="parametrisation"):
        compose(A, jnp.sin)


@pytest.mark.parametrize("name", PARTS)
def test_the_mask_acts_on_what_is_trained(name):
    p = PARTS[name]
    masked = compose(straight_through(pruning.sparse_params), p)
    trained = masked.init(WEIGHTS)
    assert jax.tree.structure(trained) == jax.tree.structure(p.init(WEIGHTS))
    tx = pruning.ste(optax.sgd(0.1), sparsity=0.5)
    state = State(tx.init(trained))
    mask = pruning.get_mask(state.opt_state)["weights"]
    weights = masked(trained, state)
    kept = np.asarray(KERNEL) > (2 if name == "shared" else 0)
    if name == "shared":
        np.testing.assert_array_equal(mask["a"]["kernel"], kept)
        scale = trained["scales"]["b/kernel"]
        np.testing.assert_array_equal(weights["a"]["kernel"], KERNEL * kept)
        np.testing.assert_array_equal(weights["b"]["kernel"], scale * KERNEL * kept)

    def loss(weights):
        return sum(jnp.sum(w**2) for w in jax.tree.leaves(weights))

    found = jax.grad(lambda t: loss(masked(t, state)))(trained)
    sparse = pruning.sparse_params(trained, state.opt_state)
    expected = jax.grad(lambda t: loss(p(t, ())))(sparse)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    pruned = ~np.asarray(
        finish_mask(masked, {**trained, "weights": mask})["a"]["kernel"]
    )
    assert pruned.any()
    assert not np.asarray(masked.finish(trained, state)["a"]["kernel"])[pruned].any()


@pytest.mark.parametrize("name", PARTS)
def test_a_method_that_holds_its_mask_needs_no_reading(name):
    p = PARTS[name]
    trained = p.init(WEIGHTS)
    tx = pruning.rigl(optax.adam(0.1), sparsity=0.5, end=10, interval=2)
    opt_state = tx.init(trained)
    trained = pruning.sparse_params(trained, opt_state)

    @jax.jit
    def step(trained, opt_state):
        def loss(trained):
            leaves = jax.tree.leaves(p(trained, State(opt_state)))
            return sum(jnp.sum((w - 2) ** 2) for w in leaves)

        value, grads = jax.value_and_grad(loss)(trained)
        updates, opt_state = tx.update(grads, opt_state, trained)
        return optax.apply_updates(trained, updates), opt_state, value

    values = []
    for _ in range(8):
        trained, opt_state, value = step(trained, opt_state)
        values.append(float(value))
        mask = finish_mask(p, pruning.get_mask(opt_state))
        weights = p(trained, State(opt_state))
        for layer in "ab":
            pruned = ~np.asarray(mask[layer]["kernel"])
            assert not np.asarray(weights[layer]["kernel"])[pruned].any()
    assert values[-1] < values[0]


@pytest.mark.parametrize("name", PARTS)
def test_only_the_weights_of_a_trained_tree_are_kernels(name):
    """Gates and scales have paths that end in those of kernels."""
    used = kernels.by_use(lambda w, x: x @ w["a"]["kernel"] @ w["b"]["kernel"])
    found = used(WEIGHTS, jnp.ones((3, 2)))
    part = PARTS[name]
    if name == "gated":
        part = gated({"a/kernel": GROUP})
    trained = part.init(WEIGHTS)
    held = {f"weights/{layer}/kernel" for layer in ("ab" if name == "gated" else "a")}
    assert kernels.of(trained, found).keys() == held
    assert kernels.of(trained).keys() == held
