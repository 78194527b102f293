"""Stages that train another tree than the network computes with."""

import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import data, models, pruning, train
from dst_jax.parametrisations import compose, gated, shared, straight_through
from dst_jax.runs import Run
from dst_jax.train import Console, Context, Objective, Stage, Term, chain, make_mesh
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.stage_plan import plan_stage
from dst_jax.train.state import enter, follow, lift, network_of
from dst_jax.trees import named_leaves
from dst_jax.typing import Network

WIDTH = 12
GROUPS = {
    "fc1": SimpleNamespace(
        size=WIDTH,
        members=[
            ("params/fc1/kernel", 1, range(WIDTH)),
            ("params/fc1/bias", 0, range(WIDTH)),
            ("params/block1/kernel", 0, range(WIDTH)),
        ],
        roles=["produces", "shifts", "reads"],
    )
}
SHARED = shared([(r"block[23]/kernel", "block1/kernel")])
GATED = gated(GROUPS)


TRACES = []
"""An entry for every trace of a training step."""


def blocks(variables, x, *, train=False, rngs=None):
    """Four layers; a plain function."""
    if train:
        TRACES.append(rngs)
    p = variables["params"]
    x = x.reshape(len(x), -1)
    maps = {}
    for name in ("fc1", "block1", "block2", "block3"):
        x = jax.nn.relu(x @ p[name]["kernel"] + p[name]["bias"][None])
        maps[f"{name}/relu"] = x
    return x @ p["fc2"]["kernel"] + p["fc2"]["bias"][None], maps, {}


def fresh(inputs):
    widths = [inputs, *[WIDTH] * 4, 10]
    params = {}
    for i, name in enumerate(("fc1", "block1", "block2", "block3", "fc2")):
        key = jax.random.fold_in(jax.random.key(0), i)
        shape = widths[i], widths[i + 1]
        kernel = jax.random.normal(key, shape) * (2 / widths[i]) ** 0.5
        params[name] = {"kernel": kernel, "bias": jnp.zeros(widths[i + 1])}
    return Network(blocks, {"params": params})


def held(*, mask, kernels, **_):
    return chain(0.05, mask=mask, weight_decay=1e-3, kernels=kernels)


def ste(*, kernels, **_):
    return pruning.ste(optax.sgd(0.05), sparsity=0.5, kernels=kernels)


def rigl(*, kernels, seed, **_):
    return pruning.rigl(
        optax.sgd(0.05), sparsity=0.5, end=8, interval=2, seed=seed, kernels=kernels
    )


def halve(network, *, context):
    found = context.kernels_of(network)
    mask = pruning.masks.magnitude(network.params, 0.5, kernels=found)
    return network._replace(mask=mask)


def open_gates(trained):
    return jax.nn.sigmoid(trained["gates"]["fc1"]).sum()


CLOSING = Objective(terms=(Term(open_gates, 1e-2, over="trained", name="open"),))
CASES = {
    "straight_through": {"optimizer": ste},
    "gated": {
        "optimizer": held,
        "on_entry": halve,
        "parametrisation": GATED,
        "objective": CLOSING,
    },
    "shared": {"optimizer": held, "on_entry": halve, "parametrisation": SHARED},
    "mask over shared": {"optimizer": ste, "parametrisation": SHARED},
    "rigl under gates": {"optimizer": rigl, "parametrisation": GATED},
    "shared and gated": {
        "optimizer": held,
        "parametrisation": compose(GATED, SHARED),
    },
}


DIVIDED = ("shared", "rigl under gates")
"""What is trained on two devices as well."""


def pipeline(case):
    return [
        Stage(name="dense", epochs=1, optimizer=held),
        Stage(name="case", epochs=1, **CASES[case]),
        Stage(name="tuned", epochs=1, optimizer=held),
    ]


def build(directory, **options):
    dataset = data.load("digits", image_size=8)
    return Context(
        model=blocks,
        dataset=dataset,
        run=Run(directory),
        batch_size=128,
        eval_batch_size=256,
        console=Console(quiet=True),
        save_every=3,
        **options,
    )


@pytest.fixture(scope="module", params=CASES, ids=str)
def finished(request, tmp_path_factory):
    context = build(tmp_path_factory.mktemp("case"))
    stages = pipeline(request.param)
    return (
        request.param,
        context,
        train.train(context, stages, config={}, init=fresh(64)),
    )


def test_an_ordinary_sparse_network_is_handed_on(finished):
    case, context, summary = finished
    network, tuned = (
        train.load_weights(context.run.checkpoints / name, sharding=context.sharding)
        for name in ("case", "tuned")
    )
    assert jax.tree.structure(network.params) == jax.tree.structure(fresh(64).params)
    if case == "shared and gated":
        assert network.mask is None
        return
    masks = named_leaves(network.mask)
    assert set(masks) == {n for n in named_leaves(network.params) if "kernel" in n}
    sizes = [(int(m.sum()), m.size) for m in masks.values()]
    kept = sum(k for k, _ in sizes) / sum(n for _, n in sizes)
    if "shared" not in case:  # the mask of the owner is that of all its uses
        assert kept == pytest.approx(0.5, abs=1e-3)
    for found in (network, tuned):
        for name, mask in masks.items():
            weights = np.asarray(named_leaves(found.params)[name])
            assert not np.any(weights[~np.asarray(mask)])
    assert summary["stages"][1]["weight_sparsity"] >= 1 - kept - 1e-6
    if "shared" in case:
        owner = network.params["block1"]["kernel"]
        used = network.params["block3"]["kernel"]
        ratio = np.asarray(used)[np.asarray(owner) != 0] / owner[owner != 0]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
        assert (masks["block1/kernel"] == masks["block3/kernel"]).all()


def test_resumed_it_ends_bit_identical(finished, tmp_path, monkeypatch):
    case, whole, expected = finished
    context = build(tmp_path, compiled=whole.compiled)
    asked = itertools.count(1)
    # In the middle of the stage and in the one after it.
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) in (13, 19))
    for _ in range(2):
        with pytest.raises(train.Interrupted):
            train.train(context, pipeline(case), config={}, init=fresh(64))
    summary = train.train(context, pipeline(case), config={}, init=fresh(64))
    assert summary["params_sha256"] == expected["params_sha256"]
    evaluations = [
        [row["loss"] for row in found["stages"]] for found in (summary, expected)
    ]
    assert evaluations[0] == evaluations[1]


def test_every_stage_compiles_once(finished):
    steps = [v for k, v in finished[1].compiled.items() if k[0] == "train"]
    assert [step._cache_size() for step in steps] == [1] * len(steps)


def main(out):
    """On one device and on two; run in a process of its own."""
    found = {}
    compiled = {1: {}, 2: {}}
    for case, devices in itertools.product(DIVIDED, compiled):
        mesh = make_mesh(jax.devices()[:devices])
        directory = f"{out}.{case}.{devices}"
        shared_steps = {"mesh": mesh, "compiled": compiled[devices]}
        context = build(directory, dtype="float64", **shared_steps)
        init = jax.device_put(fresh(64), context.sharding)
        train.train(context, pipeline(case), config={}, init=init)
        path = context.run.checkpoints / "tuned"
        network = train.load_weights(path, sharding=context.sharding)
        for name, leaf in named_leaves(network.params).items():
            assert len(leaf.sharding.device_set) == devices
            found[f"{case}/{name}/{devices}"] = leaf
    steps = [key for made in compiled.values() for key in made if key[0] == "train"]
    assert len(TRACES) == len(steps)
    np.savez(out, **found)


@pytest.mark.processes
@pytest.mark.slow
def test_two_devices_equal_one(tmp_path):
    out = tmp_path / "found.npz"
    program = "import runpy, sys; runpy.run_path(sys.argv[1])['main'](sys.argv[2])"
    flags = "--xla_force_host_platform_device_count=2"
    subprocess.run(
        [sys.executable, "-c", program, __file__, str(out)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"},
        check=True,
    )
    found = np.load(out)
    assert len(found.files) == 2 * 10 * len(DIVIDED)
    for name in found.files:
        if name.endswith("/1"):
            other = found[f"{name[:-1]}2"]
            np.testing.assert_allclose(found[name], other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ste", "sr_ste", "auto_sparse", "constrained_l0"])
def test_what_a_method_needs_cannot_be_forgotten(
    make_setup, optimizer, tmp_path, method
):
    """Fault B10: the stage handed on dense weights under a sparse mask."""
    options = {
        "ste": {"sparsity": 0.5},
        "sr_ste": {"structure": pruning.structures.n_m(2, 4)},
        "auto_sparse": {"initial": -3.0, "end": 6},
        "constrained_l0": {"sparsity": 0.5, "end": 80},  # drawn to the end
    }[method]

    def around(*, kernels, **_):
        return pruning.create(method, optax.sgd(0.05), kernels=kernels, **options)

    model = models.create("mlp", num_classes=10, hidden=(16,))
    context = make_setup(tmp_path, model=model)
    stage = train.stages.sparse_training(
        method=method, epochs=1, optimizer=around, start="pretrain"
    )
    before = train.stages.pretrain(epochs=0, optimizer=optimizer)
    summary = train.train(context, [before, stage], config={})
    network = train.load_weights(
        context.run.checkpoints / stage.path, sharding=context.sharding
    )
    masks = named_leaves(network.mask)
    assert masks
    for name, mask in masks.items():
        weights = np.asarray(named_leaves(network.params)[name])
        assert not np.any(weights[~np.asarray(mask)])
    assert summary["stages"][1]["weight_sparsity"] > 0
    plan = plan_stage(context, stage, context.fresh_weights())
    assert plan.apart == ("params",)  # what is trained is saved next to the network


def test_a_method_has_its_part_in_any_parametrisation():
    network = fresh(64)
    dense = pruning.ste(optax.sgd(0.1), sparsity=0.5)
    sparse = straight_through(pruning.sparse_params)
    opt_state = dense.init(network.params)
    assert follow(None, opt_state) == sparse
    assert follow(sparse, opt_state) == sparse
    assert follow(GATED, opt_state) == compose(sparse, GATED)
    assert follow(compose(sparse, GATED), opt_state) == compose(sparse, GATED)
    plain = optax.sgd(0.1).init(network.params)
    assert follow(GATED, plain) == GATED


def test_a_mask_follows_the_weights_into_what_is_trained():
    network = fresh(64)
    mask = pruning.masks.magnitude(network.params, 0.5)
    assert lift(mask, network.params) is mask
    lifted = lift(mask, GATED.init(network.params))
    assert lifted["gates"] == {"fc1": None}
    assert lifted["weights"] == mask
    uses = lift(mask, SHARED.init(network.params))
    assert uses["weights"]["block2"] == {"kernel": None, "bias": None}
    assert uses["weights"]["block1"]["kernel"] is mask["block1"]["kernel"]


def test_gates_act_on_the_network_and_are_multiplied_in_at_the_end():
    network = fresh(64)
    tx = optax.sgd(0.0)
    state = enter(network, tx, jax.random.key(0), parametrisation=GATED)
    assert set(state.params) == {"weights", "gates"}
    state.params["gates"]["fc1"] = jnp.zeros(WIDTH)
    handed_on = network_of(state, blocks, parametrisation=GATED)
    np.testing.assert_allclose(
        handed_on.params["block1"]["kernel"],
        network.params["block1"]["kernel"] / 2,
        rtol=1e-6,
    )
