"""DST-EE's growth: RigL at coverage 0, never-active weights first at a large one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
OPTIONS = {"sparsity": 0.8, "interval": 1, "end": 40, "decay": "constant"}
STEPS = 8


def _run(coverage, grow="dst_ee"):
    """The masks after every step, and the share of weights that were ever active."""
    tx = pruning.rigl(
        optax.sgd(0.1), grow=grow, coverage=coverage, track=True, **OPTIONS
    )
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=(10, 12)), jnp.float32)}
    state = tx.init(params)
    params, masks, rates = pruning.sparse_params(params, state), [], []
    step = jit(tx.update)
    for _ in range(STEPS):
        grads = {"w": rng.normal(size=(10, 12)).astype("f")}
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
        masks.append(np.asarray(pruning.get_mask(state)["w"]))
        rates.append(float(pruning.statistics(state)["w"]["exploration"]))
    return masks, rates


@pytest.mark.slow
def test_coverage_0_is_rigl_and_more_of_it_covers_more():
    masks, rates = _run(0.0)
    plain, _ = _run(1e-3, grow="gradient")
    np.testing.assert_array_equal(masks, plain)
    found = [rates, _run(3.0)[1], _run(1e6)[1]]
    assert all((np.diff(own) >= 0).all() for own in found)
    assert found[0][-1] < found[1][-1] < found[2][-1]
    # 24 of 120 are active and 7 of them change at an update: all that grow are new
    # until there are none left; at the first step ln t is 0
    new = np.diff([24 / 120, *found[2]])[1:] * 120
    np.testing.assert_allclose(new, 7, atol=1e-3)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="coverage must be a finite number >= 0"):
        pruning.rigl(optax.sgd(0.1), grow="dst_ee", coverage=-1, **OPTIONS)
    with pytest.raises(ValueError, match="grow must be one of"):
        pruning.mest(optax.sgd(0.1), grow="dst_ee", sparsity=0.8, end=9)
