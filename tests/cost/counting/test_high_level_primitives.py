"""Counts with the high-level primitives that JAX 0.12 has behind flags.

Older versions ignore the flags. Not under `jit`, where JAX 0.12.0 loses the carry of a
scan with these flags.
"""

import json
import os
import subprocess
import sys

import jax
import pytest

FLAGS = ("JAX_REMAT3", "JAX_SCAN3", "JAX_CUSTOM_VJP3")
PROGRAM = """
import json

import flax.linen as nn
import jax
import jax.numpy as jnp

from dst_jax import cost, kernels

X = jnp.ones((2, 4)).at[0, 0].set(0)
W = jnp.ones((3, 4, 4)).at[0, :2].set(0)


@jax.custom_vjp
def own(w, x):
    return x @ w


own.defvjp(lambda w, x: (x @ w, (w, x)), lambda r, g: (r[1].T @ g, g @ r[0].T))


def scanned(w, x):
    return jax.lax.scan(lambda x, w: (x @ w, x.sum()), x, w)[0]


def nested(w, x):
    return jax.lax.scan(lambda x, _: (scanned(w, x), None), x, None, length=2)[0]


def weights_only(w, x):  # no product in the loop, which must not become data
    return x @ jax.lax.scan(lambda a, b: (a + b, None), w[0], w)[0]


dense = nn.remat(nn.Dense)(3)
FUNCTIONS = {
    "custom_vjp": (own, W[0]),
    "gradient": (jax.grad(lambda w, x: own(w, x).sum()), W[0]),
    "remat": (dense.apply, dense.init(jax.random.key(0), X)),
    "remat in remat": (jax.checkpoint(jax.checkpoint(jnp.dot)), X.T),
    "scan": (scanned, W),
    "nested": (nested, W),
    "weights only": (weights_only, W),
    "scan in cond": (
        lambda w, x: jax.lax.cond(x[0, 1] > 0, scanned, lambda w, x: x, w, x),
        W,
    ),
    "scan in while": (
        lambda w, x: jax.lax.fori_loop(0, 2, lambda _, x: scanned(w, x), x),
        W,
    ),
    "map": (lambda w, x: jax.lax.map(lambda row: row @ w, x), W[0]),
}
FOUND = {
    name: cost.as_dict(cost.count(fn)(w, X))
    for name, (fn, w) in FUNCTIONS.items()
}
FOUND["profile"] = cost.as_dict(
    {name: each.counts for name, each in cost.profile(scanned)(W, X).items()}
)
FOUND["surrogate"] = {k: float(x) for k, x in cost.surrogate(scanned)(W, X).items()}
FOUND["kernels"] = [str(kernels.by_use(fn)(W, X)) for fn in (scanned, nested)]
FOUND["maps"] = cost.sensitivity(lambda w, x: (x, own(w, x)))(W[0], X)[0].tolist()
"""


@pytest.mark.slow
def test_counts_are_those_without_the_flags():
    expected = {}
    exec(PROGRAM, expected)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM + "\nprint(json.dumps(FOUND))"],
        env=os.environ | dict.fromkeys(FLAGS, "1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == json.loads(json.dumps(expected["FOUND"]))


REFUSED = """
import jax
import jax.numpy as jnp

from dst_jax import cost


def backwards(w, x):
    steps = jnp.ones(3)
    return jax.lax.scan(lambda x, _: (x @ w, None), x, steps, reverse=True)[0]


try:
    cost.count(backwards)(jnp.ones((4, 4)), jnp.ones((2, 4)))
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(jax.config, "jax_scan3"), reason="no such loops yet")
def test_a_loop_that_jax_runs_in_another_order_is_refused_by_name():
    run = subprocess.run(
        [sys.executable, "-c", REFUSED],
        env=os.environ | dict.fromkeys(FLAGS, "1"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot count the multiplications of 'Scan3'" in run.stdout
