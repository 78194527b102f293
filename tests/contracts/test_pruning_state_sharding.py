"""Masks and memory of every method are sharded as their parameters, from `init` on.

On four devices, for a kernel whose outputs and one whose inputs are split over them;
on Auto axes and, with Explicit ones, under `jax.set_mesh`; bytes and bits per weight.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from dst_jax import pruning

PROGRAM = textwrap.dedent("""
    import contextlib, json, re, sys, types
    import jax, jax.numpy as jnp, optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from dst_jax import penalties, pruning, trees

    GROUP = types.SimpleNamespace(
        size=8, members=[("conv/kernel", 3, range(8))], roles=["produces"])
    OWN = {
        "chase": {"groups": {"conv": GROUP}, "channel_sparsity": 0.25, "floor": 0.5,
                  "channel_interval": 3},
        "srigl": {"output": ["rows"]},
        "threshold": {"strength": 0.5, "penalty": penalties.l1, "sparsity": 0.75},
        "gap": {"partitions": 2},
        "sr_ste": {"structure": pruning.structures.n_m(1, 4)},
    }
    SPECS = {"conv": {"kernel": P(None, None, None, "m")},
             "rows": {"kernel": P("m"), "bias": P()}}

    def options(name):
        found = pruning.describe(name)
        if name in ("sr_ste", "auto_sparse"):
            given = {}
        else:
            given = {"sparsity": 0.75}
        for option, share in found.lengths.items():
            given[option] = 2 if option == "interval" else max(1, round(9 * share))
        return given | OWN.get(name, {})

    def transform(name, params, packed):
        if name == "apply_mask":
            masks = pruning.masks.magnitude(jax.device_get(params), 0.75)
            return pruning.apply_mask(masks, packed=packed)
        return pruning.create(name, optax.adam(0.1), packed=packed, **options(name))

    def elsewhere(state, params):
        leaves = trees.named_leaves(params)
        found = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            name = trees.path_name(path)
            for own, w in leaves.items():
                like = name.endswith(own) and leaf.shape == w.shape
                bits = name.endswith(own + "/bits")
                if (like or bits) and not leaf.sharding.is_equivalent_to(
                        w.sharding, w.ndim):
                    found.append(f"{name} is {leaf.sharding}")
            if leaf.size > 8 and leaf.sharding.is_fully_replicated:
                found.append(f"{name} is whole on every device")
        return found

    def gathers(text):
        sizes = re.findall(r"= \\w+\\[([\\d,]+)\\]\\S* all-gather", text)
        return [s for s in sizes if eval(s.replace(",", "*")) > 8]

    def check(name, kind, packed):
        mesh = jax.make_mesh((4,), ("m",), axis_types=(kind,))
        keys = jax.random.split(jax.random.key(0), 2)
        params = {"conv": {"kernel": jax.random.normal(keys[0], (2, 2, 16, 8))},
                  "rows": {"kernel": jax.random.normal(keys[1], (32, 8)),
                           "bias": jnp.ones(8)}}
        explicit = kind == AxisType.Explicit
        with jax.set_mesh(mesh) if explicit else contextlib.nullcontext():
            params = jax.tree.map(
                lambda w, spec: jax.device_put(w, NamedSharding(mesh, spec)),
                params, SPECS)
            grads = jax.tree.map(lambda w: jnp.sin(50 * w), params)
            tx = transform(name, params, packed)
            state = tx.init(params)
            found = elsewhere(state, params)
            lowered = jax.jit(tx.update).lower(grads, state, params)
            if explicit:  # shardings are types: they hold for every step
                want = jax.tree.leaves(jax.tree.map(of_type, (grads, state)))
                have = jax.tree.leaves(jax.tree.map(
                    lambda x: str(x.sharding.spec), lowered.out_info))
                return found + [f"{a}, was {b}" for a, b in zip(have, want) if a != b]
            update = lowered.compile()  # refuses arrays that are sharded otherwise
            for _ in range(3):
                updates, state = update(grads, state, params)
            found += elsewhere(state, params) + elsewhere(updates, params)
            return found + [f"gathers {s}" for s in gathers(update.as_text())]

    def of_type(x):
        return str(jax.typeof(x).sharding.spec)

    results = {}
    for name in json.loads(sys.argv[1]):
        results[name] = {}
        for kind, packed in ((AxisType.Auto, True), (AxisType.Explicit, False)):
            try:
                results[name][kind.name] = check(name, kind, packed)
            except Exception as error:
                results[name][kind.name] = [f"{type(error).__name__}: {error}"]
    print(json.dumps(results))
""")
NAMES = [*pruning.names(), "apply_mask"]


@pytest.fixture(scope="module")
def found():
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(NAMES)],
        env={
            **os.environ,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # these programs run but once
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_states_are_sharded_as_parameters_and_compiled_once(found, name):
    assert found[name] == {"Auto": [], "Explicit": []}
