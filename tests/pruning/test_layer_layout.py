"""Layers taken apart and put together, in every container and checkpoint."""

import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.core import freeze

from dst_jax import kernels, pruning, trees
from dst_jax.kernels import Kernel
from dst_jax.pruning import masks

KERNELS = {
    "b/kernel": Kernel(stack=(1,), inputs=(0, 2), outputs=(3,)),
    "a/weight": Kernel(inputs=(1,), outputs=(0,)),
    "c/kernel": Kernel(window=(0,), inputs=(1,), outputs=(2,)),
}
SHAPES = {"b/kernel/0": (4, 6), "b/kernel/1": (4, 6), "a/weight": (4, 2)}


def _params():
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "a": {"weight": jax.random.normal(keys[0], (2, 4)), "bias": jnp.ones(2)},
        "b": {"kernel": jax.random.normal(keys[1], (2, 2, 2, 6)), "none": None},
        "c": {"kernel": jax.random.normal(keys[2], (3, 4, 4))},
    }


@pytest.mark.parametrize("container", [dict, freeze])
def test_apart_and_together_in_path_order(container):
    params = container(_params())
    layers, layout = masks.prunable_layers(params, kernels=KERNELS)
    found = {k: w for k, w in layers.items() if w is not None}
    assert list(found) == ["a/weight", "b/kernel/0", "b/kernel/1", "c/kernel"]
    assert {k: found[k].shape for k in SHAPES} == SHAPES
    assert found["c/kernel"] is params["c"]["kernel"]  # no operation
    np.testing.assert_array_equal(
        found["b/kernel/1"], params["b"]["kernel"][:, 1].reshape(4, 6)
    )
    back = layout.together(layers, params)
    assert back["a"]["bias"] is None
    for name, w in trees.named_leaves(back).items():
        np.testing.assert_array_equal(w, trees.named_leaves(params)[name])


def test_an_ordinary_network_is_untouched():
    params = {"fc": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    layers, layout = masks.prunable_layers(params)
    assert layout.kernels == ()
    assert layers["fc"]["kernel"] is params["fc"]["kernel"]
    assert layout.together(layers, params) is layers


class OlderMaskState(NamedTuple):
    """What a state was before it carried a layout."""

    mask: Any


def test_a_checkpoint_of_a_mask_alone_is_restored(tmp_path):
    params = {"fc": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    tx = pruning.static(optax.sgd(0.1), sparsity=0.5, track=True)
    state = tx.init(params)
    older = state._replace(held=OlderMaskState(state.held.mask))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", older)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    mask = pruning.get_mask(restored)["fc"]["kernel"]
    assert (mask == state.held.mask["fc"]["kernel"]).all()


@pytest.mark.parametrize("dense", [False, True])
def test_a_state_carries_its_layout(dense):
    tx = (pruning.ste if dense else pruning.static)(
        optax.sgd(0.1), sparsity=0.5, kernels=KERNELS
    )
    state = tx.init(_params())
    found = trees.instances((state,), pruning.MaskState)
    assert found == [state.held]
    assert pruning.keeps_dense(state) == dense
    for again in (
        jax.jit(lambda s: s)(state).held,
        jax.tree.map(lambda x: x, state.held),
        copy.deepcopy(state.held),
    ):
        assert type(again) is type(state.held)
        assert again.layout == state.held.layout
        assert set(dict(again.layout.kernels)) == {"a/weight", "b/kernel"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gradual_movement", {"interval": 2}),
        ("constrained_l0", {"gates": optax.adam(0.1)}),
    ],
)
def test_memory_of_layers_resumes_through_orbax(name, options, tmp_path):
    options = {"sparsity": 0.5, "end": 6, "packed": True, "track": True} | options
    tx = pruning.create(name, optax.adam(0.1), kernels=KERNELS, **options)
    params = _params()
    step = jax.jit(tx.update)

    def run(params, state, steps):
        for _ in range(steps):
            moves, state = step(jax.tree.map(jnp.cos, params), state, params)
            params = optax.apply_updates(params, moves)
        return params, state

    middle = run(params, tx.init(params), 2)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", middle)
        checkpointer.wait_until_finished()
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), middle
        )
        restored = checkpointer.restore(tmp_path / "state", template)
    assert jax.tree.structure(restored) == jax.tree.structure(middle)
    for a, b in zip(
        *map(jax.tree.leaves, (run(*middle, 2), run(*restored, 2))), strict=True
    ):
        assert (a == b).all()


class Blocks(nnx.Module):
    """Three linear layers in a stack, and a head."""

    def __init__(self, rngs):
        make = nnx.vmap(lambda rngs: nnx.Linear(4, 4, rngs=rngs))
        self.blocks = nnx.split_rngs(splits=3)(make)(rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        run = nnx.scan(lambda block, x: nnx.relu(block(x)),
                       in_axes=(0, nnx.Carry), out_axes=nnx.Carry)  # fmt: skip
        return self.head(run(self.blocks, x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rigl", "auto_sparse", "srigl"])
def test_a_stack_of_nnx_trains_with_its_own_optimizer(name):
    graph, params, rest = nnx.split(Blocks(nnx.Rngs(0)), nnx.Param, ...)
    call = kernels.by_use(lambda p, x: nnx.merge(graph, p, rest)(x))
    found = call(params, jnp.ones((1, 4)))
    options = {
        "rigl": {"sparsity": 0.5, "interval": 1},
        "auto_sparse": {"initial": -1.0},
        "srigl": {"sparsity": 0.5, "interval": 1, "output": ["head"]},
    }[name]
    tx = pruning.create(name, optax.sgd(0.1), end=9, kernels=found, **options)
    model = nnx.merge(graph, jax.tree.map(jnp.copy, params), rest)
    optimizer, state = nnx.Optimizer(model, tx, wrt=nnx.Param), tx.init(params)
    grads = jax.tree.map(jnp.cos, params)
    for _ in range(2):
        optimizer.update(model, grads)
        moves, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, moves)
    layers = [*(f"blocks/kernel/{i}" for i in range(3)), "head/kernel"]
    for opt_state in (state, optimizer.opt_state):
        assert list(pruning.statistics(opt_state)) == layers
    masks = [pruning.get_mask(s) for s in (state, optimizer.opt_state)]
    for a, b in zip(*map(jax.tree.leaves, masks), strict=True):
        np.testing.assert_array_equal(a, b)
    own = nnx.state(model, nnx.Param)
    seen = [pruning.sparse_params(params, state)]
    seen.append(pruning.sparse_params(own, optimizer.opt_state))
    for a, b in zip(*map(jax.tree.leaves, seen), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
