"""Weights and gradients on four devices equal those on one, and stay where they are."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent("""
    from types import SimpleNamespace
    import jax, jax.numpy as jnp, numpy as np, optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from dst_jax.parametrisations import (
        State, compose, gated, identity, shared, straight_through)
    from dst_jax.trees import named_leaves

    group = SimpleNamespace(
        size=8, members=[("b/kernel", 0, range(8)), ("c/kernel", 0, range(8))],
        roles=["reads", "reads"])
    masked = straight_through(
        lambda t, mask: jax.tree.map(lambda w: jnp.where(w > mask, w, 0), t))
    sharing, gating = shared([("c/kernel", "a/kernel")]), gated({"group": group})
    members = [identity, masked, gating, sharing, compose(masked, gating),
               compose(masked, sharing), compose(sharing, gating)]
    keys = jax.random.split(jax.random.key(0), 3)
    weights = {name: {"kernel": 0.2 * jax.random.normal(key, (8, 8))}
               for name, key in zip("abc", keys)}
    tx = optax.sgd(0.1)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "compile" in name else None)

    def train(p, weights):
        trained = p.init(weights)
        opt_state = tx.init(trained)

        @jax.jit
        def step(trained, opt_state):
            def loss(trained):
                x = jnp.ones((2, 8))
                w = p(trained, State(jnp.float32(-0.1)))
                return jnp.sum(jnp.sin(x @ w["a"]["kernel"] @ w["b"]["kernel"])
                               + x @ w["c"]["kernel"])
            grads = jax.grad(loss)(trained)
            updates, opt_state = tx.update(grads, opt_state, trained)
            return optax.apply_updates(trained, updates), opt_state

        start = trained
        for i in range(3):
            trained, opt_state = step(trained, opt_state)
            programs = len(compiled) if i == 0 else programs
        assert len(compiled) == programs
        return start, trained, p.finish(trained, State(jnp.float32(-0.1)))

    on_one = [train(p, weights) for p in members]

    def check(mesh, spec):
        sharding = NamedSharding(mesh, spec)
        everywhere = NamedSharding(mesh, P())
        sharded = jax.tree.map(lambda w: jax.device_put(w, sharding), weights)
        for p, one in zip(members, on_one, strict=True):
            four = train(p, sharded)
            for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
            for tree in four:
                for name, leaf in named_leaves(tree).items():
                    kernel = leaf.ndim == 2
                    expected = sharding if kernel else everywhere
                    assert leaf.sharding.is_equivalent_to(expected, leaf.ndim), name

    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((4,), ("model",), axis_types=(kind,))
        for spec in (P("model"), P(None, "model")):
            if kind == AxisType.Auto:
                check(mesh, spec)
            else:
                with jax.set_mesh(mesh):
                    check(mesh, spec)
""")


@pytest.mark.processes
@pytest.mark.slow
def test_training_on_four_devices_equals_that_on_one():
    flags = "--xla_force_host_platform_device_count=4"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=env, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
