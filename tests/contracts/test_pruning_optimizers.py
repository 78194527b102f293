"""Every optimizer of Optax that keeps state: exact zeros, and regrown weights anew."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning
from dst_jax.pruning.reset_state import reset_where

contrib = optax.contrib
# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
OPTIMIZERS = {
    "adabelief": lambda: optax.adabelief(0.01),
    "adadelta": lambda: optax.adadelta(0.01),
    "adafactor": lambda: optax.adafactor(0.01, min_dim_size_to_factor=4),
    "adafactor momentum": lambda: optax.adafactor(0.01, momentum=0.9),
    "adagrad": lambda: optax.adagrad(0.01),
    "adam": lambda: optax.adam(0.01),
    "adamax": lambda: optax.adamax(0.01),
    "adamw": lambda: optax.adamw(0.01, weight_decay=0.1),
    "adan": lambda: optax.adan(0.01),
    "amsgrad": lambda: optax.amsgrad(0.01),
    "ema of updates": lambda: optax.chain(optax.sgd(0.1), optax.ema(0.9)),
    "fromage": lambda: optax.fromage(0.01),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(0.01),
    "lamb": lambda: optax.lamb(0.01),
    "lars": lambda: optax.lars(0.01, momentum=0.9),
    "lbfgs memory": lambda: optax.chain(
        optax.scale_by_lbfgs(memory_size=2), optax.scale(-0.01)
    ),
    "lion": lambda: optax.lion(0.01),
    "masked": lambda: optax.masked(optax.adam(0.01), {"w": True, "b": False}),
    "muon": lambda: contrib.muon(0.01),
    "nadam": lambda: optax.nadam(0.01),
    "noisy_sgd": lambda: optax.noisy_sgd(0.01, key=0),
    "novograd": lambda: optax.novograd(0.01),
    "optimistic_adam": lambda: optax.optimistic_adam_v2(0.01),
    "prodigy": lambda: contrib.prodigy(),
    "radam": lambda: optax.radam(0.01),
    "rmsprop": lambda: optax.rmsprop(0.01, momentum=0.9, initial_scale=1.0),
    "rprop": lambda: optax.rprop(0.01),
    "schedule_free": lambda: contrib.schedule_free_adamw(0.01),
    "sgd nesterov": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "sgd bfloat16": lambda: optax.sgd(
        0.1, momentum=0.9, accumulator_dtype=jnp.bfloat16
    ),
    "sm3": lambda: optax.sm3(0.01),
    "yogi": lambda: optax.yogi(0.01),
    "decay and clipping": lambda: optax.chain(
        optax.clip_by_global_norm(0.1),
        optax.add_decayed_weights(0.1),
        optax.sgd(0.1, momentum=0.9),
    ),
}
SHARED = {"adafactor", "fromage", "noisy_sgd"}  # none of their numbers is one weight's


# Half of the weights; every other step the mask moves on by one.
SHIFTING = pruning.Method(
    first=lambda params, key: {
        "w": jnp.arange(48).reshape(6, 8) % 4 < 2,
        "b": None,
    },
    refresh=lambda step: (jax.tree.map(lambda m: jnp.roll(m, 1), step.mask), ()),
    due=pruning.schedules.every(2),
)


def _params():
    w = jax.random.normal(jax.random.key(0), (48,)).reshape(6, 8)
    return {"w": w, "b": jnp.ones(8)}


def _grads(i):
    rng = np.random.default_rng(i)
    return {"w": rng.normal(size=(6, 8)).astype("f"), "b": np.ones(8, "f")}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_exact_zeros_and_fresh_statistics(name):
    inner = OPTIMIZERS[name]()
    tx = pruning.sparsify(inner, SHIFTING)
    first = jit(tx.init)(_params())
    params = pruning.sparse_params(_params(), first)
    step = jit(tx.update)
    states = [first]
    for i in range(2):
        updates, state = step(_grads(i), states[-1], params)
        params = optax.apply_updates(params, updates)
        assert (jnp.where(pruning.get_mask(state)["w"], 0, params["w"]) == 0).all()
        assert jnp.isfinite(params["w"]).all()
        states.append(state)
    old, new = (np.asarray(pruning.get_mask(s)["w"]) for s in states[1:])
    grown, stayed = ~old & new, old & new
    assert grown.sum() >= 2
    assert (params["w"][grown] == 0).all()
    fresh, now = inner.init(params), states[-1].inner
    # Without the second, the first would also hold with nothing to reset.
    assert _differing(now, fresh, grown) == 0
    assert (_differing(now, fresh, stayed) > 0) == (name not in SHARED)


def _differing(state, fresh, where):
    """Numbers of the chosen weights, in leaves shaped like `w`, that are not fresh."""
    found = 0
    both = zip(jax.tree.leaves(state), jax.tree.leaves(fresh), strict=True)
    for leaf, start in both:
        if np.shape(leaf)[-2:] == where.shape:
            found += int((np.asarray(leaf) != np.asarray(start))[..., where].sum())
    return found


def test_statistics_start_where_init_puts_them():
    inner = optax.adagrad(0.1, initial_accumulator_value=0.25)
    state = inner.init(_params())
    _, moved = inner.update(_grads(0), state, _params())
    chosen = {"w": np.arange(48).reshape(6, 8) < 3, "b": None}
    chosen = jax.tree.map(jnp.asarray, chosen)
    again = reset_where(moved, state, chosen)
    found = optax.tree_utils.tree_get(again, "sum_of_squares")
    assert (found["w"][0, :3] == 0.25).all()
    assert (found["w"][0, 3:] > 0.25).all()
    assert (found["b"] > 0.25).all()


def test_an_optimizer_without_inner_state_still_grows():
    tx = pruning.set_(optax.sgd(0.1), sparsity=0.5, interval=1)
    state = tx.init(_params())
    _, state = tx.update(_grads(0), state, _params())
    chex.assert_tree_all_finite(state.inner)
    assert state.changes.grown["w"] > 0
