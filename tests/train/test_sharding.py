"""Four devices give what one gives."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dst_jax.train import make_mesh
from dst_jax.train.sharding import check_batch

PROGRAM = textwrap.dedent("""
    import sys
    from functools import partial
    import jax, numpy as np
    from dst_jax import data, penalties, pruning, runs
    from dst_jax.models.networks.resnet import BasicBlock, ResNet
    from dst_jax.train import (Console, Objective, Context, Term, chain, make_mesh,
                               make_train_step)
    from dst_jax.train.sharding import put_batch
    from dst_jax.train.state import enter, network_of

    out = sys.argv[1]
    dataset = data.load("digits", image_size=8)
    model = ResNet(BasicBlock, (1,), num_classes=10, width=0.0625, stem="cifar",
                   dtype="float64")
    found = {}
    for devices in (1, 4):
        mesh = make_mesh(jax.devices()[:devices])
        context = Context(model=model, dataset=dataset, run=runs.Run(out + ".run"),
                      batch_size=64, eval_batch_size=256, mesh=mesh,
                      dtype="float64",
                      console=Console(quiet=True))
        weights = context.fresh_weights()
        mask = pruning.masks.magnitude(weights.params, 0.5)
        optimizer = chain(0.05, mask=mask)
        objective = Objective(terms=(
            Term(penalties.transformed_l1, 1e-3, {"a": 1.0}),
            Term(penalties.l1, 1e-4, over="weights")))
        step = make_train_step(model, optimizer, preprocess=context.preprocess,
                               out_sharding=context.sharding)
        state = jax.device_put(
            enter(weights._replace(mask=mask), optimizer, jax.random.key(0)),
            context.sharding)
        batches = context.train_batches("test")
        losses = []
        for _ in range(3):
            state, metrics = step(state, put_batch(next(batches), mesh), objective)
            losses.append(float(metrics["loss"]))
        batches.close()
        leaf = jax.tree.leaves(state.params)[0]
        assert len(leaf.sharding.device_set) == devices
        weights = network_of(state, context.model)
        for m in jax.tree.leaves(weights.mask):
            shards = [np.asarray(s.data) for s in m.addressable_shards]
            assert len(shards) == devices
            assert all((s == shards[0]).all() for s in shards)
        found[f"losses{devices}"] = losses
        found[f"params{devices}"] = np.concatenate(
            [np.ravel(x) for x in jax.tree.leaves(weights.params)])
        found[f"stats{devices}"] = np.concatenate(
            [np.ravel(x) for x in jax.tree.leaves(weights.model_state)])
        # The same weights on every mesh: integers have to agree exactly.
        start = jax.device_put(context.fresh_weights(), context.sharding)
        same = context.evaluate(start, dataset.test, count=True)
        found[f"counts{devices}"] = [
            int(getattr(c, f)) for c in same.counts.values() for f in c._fields]
        found[f"examples{devices}"] = [same.examples, sum(same.elements.values())]
        found[f"zeros{devices}"] = list(same.zeros.values())
    np.savez(out, **found)
""")


@pytest.mark.processes
@pytest.mark.slow
def test_four_devices_equal_one(tmp_path):
    out = tmp_path / "found.npz"
    flags = "--xla_force_host_platform_device_count=4"
    # Computed in float64: in float32 a sum in another order moves a value by 1e-7, now
    # and then across the kink of a ReLU, and from there on two runs differ by 1e-3 -
    # as they do on one device when the images of a batch are permuted.
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"},
        check=True,
    )
    found = np.load(out)
    for name in ("losses", "params", "stats"):
        np.testing.assert_allclose(
            found[f"{name}4"], found[f"{name}1"], rtol=1e-5, atol=1e-5
        )
    for name in ("examples", "zeros", "counts"):
        assert (found[f"{name}1"] == found[f"{name}4"]).all()


def test_a_batch_the_devices_cannot_share_is_named():
    with pytest.raises(ValueError, match="batch_size must be a positive multiple"):
        check_batch("batch_size", 0, make_mesh())
