"""Masks fit parameters in any container: FrozenDict, tuples, NNX states, Equinox."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze, unfreeze

from dst_jax import pruning, trees
from dst_jax.pruning import masks, structures

# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Net(NamedTuple):
    """Parameters by attribute."""

    first: Any
    second: Any


def _plain():
    keys = jax.random.split(jax.random.key(0))
    return {
        "first": {"kernel": jax.random.normal(keys[0], (4, 6)), "bias": jnp.ones(6)},
        "second": [jax.random.normal(keys[1], (6, 2)), None],
    }


def _tuples(tree):
    return Net(freeze(tree["first"]), tuple(tree["second"]))


CONTAINERS = {
    "dict": lambda tree: tree,
    "frozen": freeze,
    "named tuple": _tuples,
    "tuple": lambda tree: tree | {"second": tuple(tree["second"])},
}
RULES = [("second/0", True)]


def _same(found, expected):
    found, expected = trees.named_leaves(found), trees.named_leaves(expected)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


def _run(tx, params, steps=3):
    state = tx.init(params)
    step = jit(tx.update)
    for i in range(steps):
        grads = jax.tree.map(lambda w: jnp.cos(w * (i + 1)), params)  # noqa: B023
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.slow
@pytest.mark.parametrize("of_params", CONTAINERS)
@pytest.mark.parametrize("of_mask", CONTAINERS)
def test_a_mask_in_other_containers_fits(of_mask, of_params):
    mask = masks.magnitude(_plain(), 0.5, rules=RULES)
    expected = _run(pruning.apply_mask(mask), _plain())[0]
    mask, params = CONTAINERS[of_mask](mask), CONTAINERS[of_params](_plain())
    for tx in (
        pruning.apply_mask(mask),
        pruning.apply_mask(mask, packed=True),
        pruning.static(optax.identity(), sparsity=0.9, mask=mask),
    ):
        found, state = _run(tx, params)
        _same(found, expected)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        _same(pruning.sparse_params(params, state), masks.apply(mask, params))


@pytest.mark.slow
@pytest.mark.parametrize("given", CONTAINERS)
@pytest.mark.parametrize("name", ["rigl", "auto_sparse", "apply_mask"])
def test_an_update_in_other_containers_than_at_init(given, name):
    mask = masks.magnitude(_plain(), 0.5, rules=RULES)
    tx = {
        "rigl": pruning.rigl(
            optax.adam(0.1), sparsity=0.5, end=9, interval=1, rules=RULES
        ),
        "auto_sparse": pruning.auto_sparse(optax.adam(0.1), end=9, rules=RULES),
        "apply_mask": optax.chain(optax.sgd(0.1), pruning.apply_mask(mask)),
    }[name]
    state, grads = tx.init(_plain()), jax.tree.map(jnp.cos, _plain())
    expected, after = tx.update(grads, state, _plain())
    other = CONTAINERS[given]
    if name == "apply_mask":  # its neighbours in a chain see what they saw at init
        found, new = tx.update(grads, state, other(_plain()))
    else:
        found, new = tx.update(other(grads), state, other(_plain()))
        assert jax.tree.structure(found) == jax.tree.structure(other(_plain()))
    _same(found, expected)
    _same(pruning.get_mask(new), pruning.get_mask(after))
    seen = pruning.sparse_params(other(_plain()), new)
    _same(seen, pruning.sparse_params(_plain(), after))
    assert jax.tree.structure(seen) == jax.tree.structure(other(_plain()))


def test_names_that_differ_are_refused_by_name():
    mask = masks.magnitude(_plain(), 0.5, rules=RULES)
    mask["third"] = mask["second"]
    del mask["second"]
    message = r"mask is not shaped like the parameters: \['second/0', 'second/1'"
    for params in (_plain(), freeze(_plain())):
        for tx in (
            pruning.apply_mask(mask),
            pruning.static(optax.sgd(0.1), sparsity=0.5, mask=mask),
        ):
            with pytest.raises(ValueError, match=message):
                tx.init(params)
        with pytest.raises(ValueError, match=message):
            masks.apply(mask, params)
    tx = pruning.set_(optax.sgd(0.1), sparsity=0.5, interval=1, rules=RULES)
    state = tx.init(_plain())
    less = {"first": _plain()["first"]}
    with pytest.raises(ValueError, match=r"the updates .* the mask: \['second/0'"):
        tx.update(less, state, _plain())
    with pytest.raises(ValueError, match=r"params .* the mask: \['second/0'"):
        tx.update(_plain(), state, less)
    gated = pruning.auto_sparse(optax.sgd(0.1), end=9, rules=RULES)
    for one in (state, gated.init(_plain())):
        with pytest.raises(ValueError, match=r"the parameters: \['second/0'"):
            pruning.sparse_params(less, one)


def test_none_may_stand_for_a_subtree():
    mask = {"first": None, "second": [jnp.ones((6, 2), bool), None]}
    state = pruning.apply_mask(mask).init(_plain())
    assert pruning.get_mask(state)["first"] == {"kernel": None, "bias": None}


class Model(nnx.Module):
    """A network with parameters, statistics and random state."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(36, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.head(self.drop(x.reshape(x.shape[0], -1)))


METHODS = {
    "sr_ste": {"structure": structures.n_m(2, 4)},
    "auto_sparse": {"end": 9, "initial": -1.0},
    "constrained_l0": {"sparsity": 0.5, "end": 9},
    "rigl": {"sparsity": 0.5, "end": 9, "interval": 1},
}
IMAGES = np.linspace(-1, 1, 18, dtype="f").reshape(2, 3, 3, 1)
RULE = [("conv/kernel$", False)]


def _nnx():
    model = Model(nnx.Rngs(0))
    model.eval()
    return model


def _nnx_loss(model):
    return jnp.sum(jnp.square(model(IMAGES)))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_nnx_states_train_with_every_kind_of_method(name):
    """As functions of a state, and with `nnx.Optimizer`: masks as with dicts."""
    tx = pruning.create(name, optax.sgd(0.1), rules=RULE, **METHODS[name])
    graph, params, rest = nnx.split(_nnx(), nnx.Param, ...)
    plain = nnx.to_pure_dict(params)
    optimizer = nnx.Optimizer(_nnx(), tx, wrt=nnx.Param)
    state, plain_state = tx.init(params), tx.init(plain)
    for _ in range(2):
        seen = pruning.sparse_params(params, state)
        _same(pruning.sparse_params(params, optimizer.opt_state), seen)
        grads = jax.grad(lambda p: _nnx_loss(nnx.merge(graph, p, rest)))(seen)
        model = nnx.merge(graph, jax.tree.map(jnp.copy, params), rest)
        optimizer.update(model, grads)
        plain_grads = nnx.to_pure_dict(grads)
        moves, plain_state = tx.update(plain_grads, plain_state, plain)
        plain = optax.apply_updates(plain, moves)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        _same(params, plain)
        _same(nnx.state(model, nnx.Param), params)
        for other in (plain_state, optimizer.opt_state):
            _same(pruning.get_mask(other), pruning.get_mask(state))
    assert list(pruning.statistics(state)) == ["head/kernel"]
    assert list(pruning.statistics(optimizer.opt_state)) == ["head/kernel"]
    seen = pruning.sparse_params(params, state)
    pruned = ~np.asarray(trees.named_leaves(pruning.get_mask(state))["head/kernel"])
    assert pruned.any()
    assert (np.asarray(trees.named_leaves(seen)["head/kernel"])[pruned] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_equinox_modules_train_with_every_kind_of_method(name):
    model = eqx.nn.MLP(4, 5, 8, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    rule = [("layers/1/weight$", False)]
    tx = pruning.create(name, optax.sgd(0.1), rules=rule, **METHODS[name])
    state = tx.init(params)

    def loss(params):
        return jnp.sum(jnp.square(eqx.combine(params, static)(jnp.arange(4.0))))

    for _ in range(2):
        seen = pruning.sparse_params(params, state)
        updates, state = tx.update(jax.grad(loss)(seen), state, params)
        params = optax.apply_updates(params, updates)
    assert list(pruning.statistics(state)) == ["layers/0/weight"]
    mask = pruning.get_mask(state).layers[0].weight
    assert mask.shape == (8, 4)  # outputs first
    if name == "sr_ste":
        assert (mask.reshape(8, 1, 4).sum(-1) == 2).all()
    seen = pruning.sparse_params(params, state)
    assert (jnp.where(mask, 0, seen.layers[0].weight) == 0).all()
    assert (seen.layers[1].weight == params.layers[1].weight).all()


def test_what_is_no_array_is_refused_by_name():
    model = eqx.nn.MLP(4, 5, 8, 1, key=jax.random.key(0))
    mask = masks.magnitude(model, 0.5)
    for tx in (
        pruning.create("ste", optax.sgd(0.1), sparsity=0.5),
        pruning.apply_mask(mask),
    ):
        with pytest.raises(
            TypeError, match=r"params must hold arrays alone, got .* at acti"
        ):
            tx.init(model)


def test_a_checkpoint_of_one_container_is_read_in_another():
    """Restored optimizer states may hold dicts where the model has FrozenDicts."""
    params = freeze(_plain())
    tx = pruning.auto_sparse(optax.sgd(0.1), end=9, rules=RULES)
    state = tx.init(unfreeze(params))
    seen = pruning.sparse_params(params, state)
    assert jax.tree.structure(seen) == jax.tree.structure(params)
