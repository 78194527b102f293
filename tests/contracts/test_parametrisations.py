"""What every parametrisation must do. A new one is tested by adding its row."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from dst_jax import pruning
from dst_jax.parametrisations import (
    Parametrisation,
    State,
    compose,
    finish_mask,
    gated,
    identity,
    shared,
    straight_through,
)
from dst_jax.trees import is_none, named_leaves

GROUPS = {
    "conv/kernel": SimpleNamespace(
        size=4,
        members=[
            ("params/conv/kernel", 3, range(4)),
            ("params/conv/bias", 0, range(4)),
            ("params/block1/kernel", 0, range(4)),
        ],
        roles=["produces", "shifts", "reads"],
    )
}
RULES = [(r"block\d/kernel", "block1/kernel")]
MEMBERS = {
    "identity": identity,
    "straight_through": straight_through(pruning.sparse_params),
    "gated": gated(GROUPS),
    "gated without collapse": gated(GROUPS, prevent_collapse=True),
    "shared": shared(RULES),
    "mask over gated": compose(straight_through(pruning.sparse_params), gated(GROUPS)),
    "mask over shared": compose(straight_through(pruning.sparse_params), shared(RULES)),
    "shared and gated": compose(shared(RULES), gated(GROUPS)),
}
RANDOM = {"shared", "mask over shared", "shared and gated"}


@pytest.fixture(params=MEMBERS, ids=str)
def name(request):
    return request.param


@pytest.fixture
def member(name):
    return MEMBERS[name]


def _weights(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = [(3, 3, 2, 4), (4, 4), (4, 4), (4, 4), (4, 3)]
    kernels = [
        jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)
    ]
    conv, *blocks, fc = kernels
    return {
        "conv": {"kernel": conv, "bias": jnp.ones(4, dtype)},
        "block1": {"kernel": blocks[0]},
        "block2": {"kernel": blocks[1]},
        "block3": {"kernel": blocks[2]},
        "fc": {"kernel": fc, "bias": jnp.zeros(3, dtype), "left_out": None},
    }


def _start(member, dtype=jnp.float32):
    """The trained tree and a state in which half of what is trained is pruned."""
    trained = member.init(_weights(dtype))
    opt_state = pruning.ste(optax.sgd(0.1), sparsity=0.5).init(trained)
    return trained, State(opt_state, jnp.int32(3), {})


def _abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def _loss(weights):
    """Of all weights, with a gradient that is nowhere 0."""
    leaves = jax.tree.leaves(weights)
    return sum(jnp.sum(jnp.sin(3 * w) + w, dtype=jnp.float32) for w in leaves)


def test_it_is_a_parametrisation(member):
    assert isinstance(member, Parametrisation)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_weights_are_those_of_the_network(member, dtype):
    trained, state = _start(member, dtype)
    weights = _weights(dtype)
    assert _abstract(member(trained, state)) == _abstract(weights)
    assert _abstract(member.finish(trained, state)) == _abstract(weights)


def test_shapes_are_known_without_arrays(member):
    trained, state = _start(member)
    weights = _abstract(_weights())
    abstract = jax.eval_shape(member.init, weights)
    assert _abstract(abstract) == _abstract(trained)
    found = jax.eval_shape(member, abstract, _abstract(state))
    assert _abstract(found) == _abstract(weights)


def test_it_is_the_same_under_jit(member):
    trained, state = _start(member)
    _assert_equal(jax.jit(member.init)(_weights()), trained)
    found, expected = jax.jit(member)(trained, state), member(trained, state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected
    )


def test_it_is_static_under_jit(member):
    trained, state = _start(member)
    traces = 0

    def weights(parametrisation, trained, state):
        nonlocal traces
        traces += 1
        return parametrisation(trained, state)

    call = jax.jit(weights, static_argnums=0)
    call(member, trained, state)
    call(compose(identity, member), trained, state)
    assert traces == 1
    assert hash(compose(member, identity)) == hash(member)


def test_what_is_handed_on_is_what_was_computed_with(member):
    trained, state = _start(member)
    _assert_equal(member.finish(trained, state), member(trained, state))


@pytest.mark.slow
def test_gradients_reach_everything_that_is_trained(member):
    trained, state = _start(member)
    gradient = jax.grad(lambda t: _loss(member(t, state)))(trained)
    assert _abstract(gradient) == _abstract(trained)
    for path, leaf in named_leaves(gradient).items():
        assert np.isfinite(leaf).all(), path
        assert (leaf != 0).any(), path


@pytest.mark.slow
def test_forward_and_reverse_derivatives_agree(member):
    trained, state = _start(member)
    direction = jax.tree.map(lambda x: jnp.cos(x + 1), trained)

    def loss(trained):
        return _loss(member(trained, state))

    _, forward = jax.jvp(loss, (trained,), (direction,))
    gradient = jax.grad(loss)(trained)
    reverse = sum(
        jnp.sum(g * d)
        for g, d in zip(
            jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True
        )
    )
    np.testing.assert_allclose(forward, reverse, rtol=1e-5)


def test_only_the_seed_decides_what_is_random(name, member):
    first, again = (member.init(_weights(), seed=0) for _ in range(2))
    _assert_equal(first, again)
    other = member.init(_weights(), seed=1)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), first, other)
    assert jax.tree.all(same) == (name not in RANDOM)
    seeds = jax.vmap(lambda seed: member.init(_weights(), seed=seed))(jnp.arange(2))
    _assert_equal(jax.tree.map(lambda x: x[1], seeds), other)


def test_an_ensemble_equals_its_networks(member):
    several = [_weights(), jax.tree.map(jnp.cos, _weights())]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *several)
    trained = jax.vmap(member.init)(stacked)
    _, state = _start(member)
    weights = jax.vmap(lambda t: member(t, state))(trained)
    for i, network in enumerate(several):
        expected = member(member.init(network), state)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-6),
            weights,
            expected,
        )


def test_the_mask_that_is_handed_on_fits_the_weights(member):
    trained, state = _start(member)
    mask = finish_mask(member, pruning.get_mask(state.opt_state))
    weights = member.finish(pruning.sparse_params(trained, state.opt_state), state)
    structure = jax.tree.structure(weights, is_leaf=is_none)
    assert jax.tree.structure(mask, is_leaf=is_none) == structure
    masks = named_leaves(mask)
    kernels = {k for k in named_leaves(weights) if k.endswith("kernel")}
    assert masks.keys() == kernels
    for path in kernels:
        weight = np.asarray(named_leaves(weights)[path])
        assert not weight[~np.asarray(masks[path])].any(), path


def test_it_survives_a_checkpoint(member, tmp_path):
    trained, state = _start(member)
    saved = {"trained": trained, "state": state}
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "step", args=ocp.args.StandardSave(saved))
        template = jax.eval_shape(lambda: {"trained": _start(member)[0]})
        template = {**template, "state": _abstract(state)}
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=jnp.ones(1).sharding
            ),
            template,
        )
        args = ocp.args.StandardRestore(template)
        found = checkpointer.restore(tmp_path / "step", args=args)
    restored = State(*found["state"])
    _assert_equal(found["trained"], trained)
    _assert_equal(member(found["trained"], restored), member(trained, state))
