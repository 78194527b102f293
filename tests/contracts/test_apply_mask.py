"""Pruned weights are exactly 0 after every update, whatever comes before the mask."""

import jax
import jax.numpy as jnp
import optax
import pytest

from dst_jax.pruning import apply_mask, get_mask, masks

OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "sgd momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "sgd nesterov": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "sgd bfloat16 momentum": lambda: optax.sgd(
        0.1, momentum=0.9, accumulator_dtype=jnp.bfloat16
    ),
    "adam": lambda: optax.adam(0.01),
    "adamw": lambda: optax.adamw(0.01, weight_decay=0.1),
    "decay and clipping": lambda: optax.chain(
        optax.clip_by_global_norm(0.1),
        optax.add_decayed_weights(0.1),
        optax.sgd(0.1, momentum=0.9),
    ),
    "ema of updates": lambda: optax.chain(optax.sgd(0.1), optax.ema(0.9)),
    "lion": lambda: optax.lion(0.01),
    "adafactor": lambda: optax.adafactor(0.01),
    "rmsprop": lambda: optax.rmsprop(0.01, momentum=0.9),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(0.01),
}


def _params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 2)
    return {
        "conv": {"kernel": jax.random.normal(keys[0], (3, 3, 4, 8), dtype)},
        "fc": {
            "kernel": jax.random.normal(keys[1], (8, 4), dtype),
            "bias": jnp.ones(4, dtype),
        },
    }


def _grads(params, step):
    key = jax.random.fold_in(jax.random.key(1), step)
    return jax.tree.map(lambda w: jax.random.normal(key, w.shape, w.dtype), params)


def _pruned_are_zero(mask, params):
    outside = jax.tree.map(
        lambda m, w: None if m is None else jnp.where(m, 0, w),
        mask,
        params,
        is_leaf=lambda x: x is None,
    )
    return all((leaf == 0).all() for leaf in jax.tree.leaves(outside))


@pytest.fixture(params=OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def optimizer(request):
    return request.param()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_exact_zeros_after_every_update(optimizer, dtype):
    params = _params(dtype)
    mask = masks.magnitude(params, 0.6)
    tx = optax.chain(optimizer, apply_mask(mask))
    state = tx.init(params)

    @jax.jit
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for i in range(4):
        params, state = step(params, state, _grads(params, i))
        assert _pruned_are_zero(mask, params)
    kept = jax.tree.map(lambda m, w: (w[m] != 0).all(), mask["conv"], params["conv"])
    assert kept["kernel"]
    assert params["conv"]["kernel"].dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False])
def test_exact_zeros_with_multi_steps(inside):
    params = _params()
    mask = masks.magnitude(params, 0.6)
    params = masks.apply(mask, params)
    if inside:
        chain = optax.chain(optax.adam(0.01), apply_mask(mask))
        tx = optax.MultiSteps(chain, 2).gradient_transformation()
    else:
        steps = optax.MultiSteps(optax.adam(0.01), 2).gradient_transformation()
        tx = optax.chain(steps, apply_mask(mask))
    state = tx.init(params)
    update = jax.jit(tx.update)
    start = params
    for i in range(4):
        updates, state = update(_grads(params, i), state, params)
        params = optax.apply_updates(params, updates)
        assert _pruned_are_zero(mask, params)
    assert (get_mask(state)["fc"]["kernel"] == mask["fc"]["kernel"]).all()
    assert (params["conv"]["kernel"] != start["conv"]["kernel"]).any()


@pytest.mark.slow
def test_exact_zeros_in_the_average_of_parameters():
    params = _params()
    mask = masks.magnitude(params, 0.6)
    params = masks.apply(mask, params)
    tx = optax.chain(optax.adam(0.1), apply_mask(mask))
    state, average = tx.init(params), params
    for i in range(3):
        updates, state = tx.update(_grads(params, i), state, params)
        params = optax.apply_updates(params, updates)
        average = optax.incremental_update(params, average, 0.1)
    assert _pruned_are_zero(mask, average)


def test_kept_weights_move_as_without_the_mask():
    params = _params()
    mask = jax.tree.map(lambda w: jnp.ones(w.shape, bool), params)
    plain, masked = optax.adam(0.01), optax.chain(optax.adam(0.01), apply_mask(mask))
    grads = _grads(params, 0)
    expected, _ = plain.update(grads, plain.init(params), params)
    found, _ = masked.update(grads, masked.init(params), params)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), expected, found))


def test_the_mask_is_found_in_any_chain(optimizer):
    params = _params()
    mask = masks.magnitude(params, 0.5)
    tx = optax.chain(optax.chain(optimizer), optax.identity(), apply_mask(mask))
    found = get_mask(tx.init(params))
    assert found["fc"]["bias"] is None
    assert (found["conv"]["kernel"] == mask["conv"]["kernel"]).all()


def test_state_does_not_share_the_callers_mask():
    params = _params()
    mask = masks.magnitude(params, 0.5)
    state = apply_mask(mask).init(params)
    jax.jit(lambda s: s, donate_argnums=0)(state)
    assert not mask["fc"]["kernel"].is_deleted()
    assert state.mask["fc"]["kernel"].is_deleted()


def test_bad_input_is_named():
    params = _params()
    with pytest.raises(ValueError, match="mask must hold bool arrays"):
        apply_mask({"fc": jnp.ones(2)})
    wrong_shape = masks.magnitude(params, 0.5) | {"fc": {"kernel": jnp.ones(2, bool)}}
    wrong_shape["fc"]["bias"] = None
    with pytest.raises(ValueError, match=r"mask at fc/kernel has shape \(2,\)"):
        apply_mask(wrong_shape).init(params)
    with pytest.raises(ValueError, match="mask is not shaped like the parameters"):
        apply_mask({"other": None}).init(params)
    tx = apply_mask(masks.magnitude(params, 0.5))
    with pytest.raises(ValueError, match="apply_mask needs params"):
        tx.update(params, tx.init(params))
    with pytest.raises(ValueError, match="opt_state must hold one mask, found 0"):
        get_mask(optax.adam(0.1).init(params))
