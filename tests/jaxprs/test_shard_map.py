"""T11 over devices: arrays split over a mesh, and `shard_map`, count as one device.

In a process of its own, which sees eight devices.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent("""
    import json

    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

    from dst_jax import cost

    SQUARE = jnp.eye(4)[::-1] * 2
    X = jnp.maximum(jax.random.normal(jax.random.key(0), (8, 6)), 0)
    W = jnp.maximum(jax.random.normal(jax.random.key(1), (6, 4)), 0)
    IMAGES = jnp.maximum(jax.random.normal(jax.random.key(0), (8, 5, 5, 2)), 0)
    KERNEL = jnp.maximum(jax.random.normal(jax.random.key(1), (3, 3, 2, 4)), 0)
    DIMENSIONS = ("NHWC", "HWIO", "NHWC")

    QUICK = {"xla_backend_optimization_level": 0}

    def ints(counts):
        return [[int(n) for n in op] for op in counts.values()]

    def count(fn, *args):
        return ints(jax.jit(cost.count(fn), compiler_options=QUICK)(*args))

    def matmul(w, x, out=None):
        return jnp.einsum("nk,km->nm", x, w, out_sharding=out)

    def conv(w, x):
        return lax.conv_general_dilated(x, w, (2, 1), "SAME",
                                        dimension_numbers=DIMENSIONS)

    def network(w, x):
        '''Every example takes branches and loops of its own.'''
        y = x @ w
        y = lax.scan(lambda c, _: (jax.nn.relu(c @ SQUARE - 1), None), y, None,
                     length=2)[0]
        y = lax.cond(y.sum() > 3, lambda y: y @ SQUARE, lambda y: y + 1, y)
        return lax.while_loop(lambda y: y.sum() < 30, lambda y: y @ SQUARE + 1, y)

    def replicated(w, x):
        '''What no device does alone: it counts once.'''
        return lax.while_loop(lambda y: y.sum() < 30, lambda y: y @ SQUARE + 1,
                              jnp.ones((3, 6)) @ w)

    found = {}
    # On one device: the parts of the batch one after the other.
    counted = jax.jit(cost.count(network))
    parts = [ints(counted(W, part)) for part in jnp.split(X, 4)]
    found["one device"] = {
        "matmul": count(matmul, W, X),
        "conv": count(conv, KERNEL, IMAGES),
        "network": [[sum(n) for n in zip(*op)] for op in zip(*parts)],
        "replicated": count(replicated, W, X),
        "gradient": count(jax.grad(lambda w, x: jnp.tanh(x @ w).sum()), W, X),
    }

    by_batch = P(), P("data")
    by_both = P("model"), P("data", "model")

    def split(fn, specs, out, **options):
        return jax.shard_map(fn, in_specs=specs, out_specs=out, **options)

    def shard_maps():
        return {
            "matmul": split(lambda w, x: lax.psum(x @ w, "model"), by_both, P("data")),
            "conv": split(conv, by_batch, P("data")),
            "network": split(network, by_batch, P("data")),
            "replicated": split(replicated, by_batch, P()),
            "gradient": jax.grad(split(
                lambda w, x: lax.psum(jnp.tanh(x @ w).sum(), "data"), by_batch, P())),
        }

    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind,) * 2)
        put = lambda x, *spec: jax.device_put(x, NamedSharding(mesh, P(*spec)))
        with jax.set_mesh(mesh):
            out = P("data") if kind == AxisType.Explicit else None
            operands = put(W, "model"), put(X, "data", "model")
            images = put(KERNEL), put(IMAGES, "data")
            found[f"{kind} arrays"] = {
                "matmul": count(lambda w, x: matmul(w, x, out), *operands),
                "conv": count(conv, *images),
            }
            batch = put(W), put(X, "data")
            found[f"{kind} shard_map"] = {
                name: count(fn, *{"matmul": operands, "conv": images}.get(name, batch))
                for name, fn in shard_maps().items()
                if kind == AxisType.Auto or name == "matmul"
            }
            unchecked = split(network, by_batch, P("data"), check_vma=False)
            try:
                count(unchecked, *batch)
            except ValueError as error:
                found["error"] = str(error)
    print(json.dumps(found))
""")


@pytest.mark.slow
def test_devices_add_up_to_the_counts_of_one():
    flags = "--xla_force_host_platform_device_count=8"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, "XLA_FLAGS": flags},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(run.stdout)
    assert "check_vma=True" in found.pop("error")
    expected = found.pop("one device")
    assert len(found) == 4
    for way, counts in found.items():
        for name, operations in counts.items():
            assert operations == expected[name], (way, name)
