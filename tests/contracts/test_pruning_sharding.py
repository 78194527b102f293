"""Masks are the same on eight devices as on one, with no gather of the scores."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent("""
    import jax, jax.numpy as jnp, numpy as np, optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from dst_jax import pruning

    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    params = {"a": jax.random.normal(jax.random.key(0), (8 * 24,)).reshape(24, 8),
              "b": jax.random.normal(jax.random.key(1), (8 * 12,)).reshape(12, 8)}
    grads = [jax.tree.map(lambda w: jnp.round(4 * jnp.sin(w * 50 * (i + 1))), params)
             for i in range(4)]  # few values: many ties
    rows = NamedSharding(mesh, P(None, "model"))
    options = {"sparsity": 0.8, "end": 10, "interval": 2}
    members = {"rigl": options | {"scope": "global"}, "gradual_magnitude":
               options | {"distribution": "global"}, "set": options,
               "constrained_l0": {"sparsity": 0.8, "end": 10}}

    def run(name, put):
        tx = pruning.create(name, optax.adam(0.1), **members[name])
        p = jax.tree.map(put, params)
        state = jax.jit(tx.init)(p)
        step = jax.jit(tx.update)
        for g in grads:
            updates, state = step(jax.tree.map(put, g), state, p)
            p = optax.apply_updates(p, updates)
        return p, pruning.get_mask(state)

    for name in members:
        p, one = run(name, jnp.asarray)
        q, eight = run(name, lambda x: jax.device_put(x, rows))
        for k in "ab":
            assert len(q[k].sharding.device_set) == 8
            assert (np.asarray(one[k]) == np.asarray(eight[k])).all(), name
            np.testing.assert_array_equal(np.asarray(p[k]) == 0, np.asarray(q[k]) == 0)
            by_index = {}
            for shard in eight[k].addressable_shards:
                data = np.asarray(shard.data)
                assert (by_index.setdefault(str(shard.index), data) == data).all()

    scores = jax.tree.map(lambda w: jax.device_put(w, rows), params)
    top_k = jax.jit(lambda s, k: pruning.selection.top_k(s, {"": k}))
    text = top_k.lower(scores, jnp.int32(50)).compile().as_text()
    assert "all-reduce" in text and "all-gather" not in text, text
""")


@pytest.mark.processes
@pytest.mark.slow
def test_masks_on_eight_devices_equal_those_on_one():
    flags = "--xla_force_host_platform_device_count=8"
    env = {
        **os.environ,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # these programs run but a few times
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=env, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
