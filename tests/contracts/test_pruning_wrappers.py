"""Optax wrappers around and inside of methods: they work, or are refused by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning, trees

# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
PARAMS = {
    "fc1": {
        "kernel": jnp.sin(jnp.arange(1.0, 25.0)).reshape(4, 6),
        "bias": jnp.ones(6),
    },
    "fc2": {
        "kernel": jnp.cos(jnp.arange(1.0, 19.0)).reshape(6, 3),
        "bias": jnp.ones(3),
    },
}
LABELS = {"fc1": "one", "fc2": "other"}
METHODS = {
    "static": {},
    "rigl": {"end": 9, "interval": 1, "drop_fraction": 0.5, "decay": "constant"},
    "one_shot": {"at": 2},
    "ste": {},
}
FREE = optax.contrib.schedule_free
SGD = optax.sgd(0.1, momentum=0.9)


def _method(name="rigl", inner=SGD):
    return pruning.create(name, inner, sparsity=0.5, **METHODS[name])


AROUND = {
    "chain": lambda tx: optax.chain(optax.clip(1.0), optax.chain(tx)),
    "named_chain": lambda tx: optax.named_chain(("clip", optax.clip(1.0)), ("tx", tx)),
    "monitor after": lambda tx: optax.chain(
        tx, optax.snapshot("norm", optax.tree.norm)
    ),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 2),
    "masked": lambda tx: optax.masked(tx, {"fc1": True, "fc2": False}),
    "partition": lambda tx: optax.partition({"one": tx, "other": SGD}, LABELS),
    "conditionally_mask": lambda tx: optax.conditionally_mask(
        tx, lambda step: step < 3
    ),
    "inject_hyperparams": lambda tx: optax.inject_hyperparams(lambda rate: tx)(0.1),
}
INSIDE = {
    "apply_if_finite": optax.apply_if_finite(SGD, 2),
    "ema": optax.chain(SGD, optax.ema(0.9)),
    "masked": optax.masked(SGD, {"fc1": True, "fc2": False}),
    "partition": optax.partition({"one": optax.adam(0.1), "other": SGD}, LABELS),
    "inject_hyperparams": optax.inject_hyperparams(optax.adam)(0.1),
    "flatten": optax.flatten(optax.adam(0.1)),
    "schedule_free": FREE(optax.sgd(0.1), 0.1),
    "mechanize": optax.contrib.mechanize(optax.sgd(0.1)),
    "reduce_on_plateau": optax.chain(
        SGD, optax.contrib.reduce_on_plateau(patience=1, cooldown=0)
    ),
}


def _train(tx, steps=4, **extra):
    """The states and parameters of a few steps, with the mask held at each."""
    state = tx.init(PARAMS)
    params = pruning.sparse_params(PARAMS, state)
    step = jit(tx.update)
    found = []
    for i in range(steps):
        grads = jax.tree.map(lambda w: jnp.sin(w * (i + 7)), PARAMS)  # noqa: B023
        updates, state = step(grads, state, params, **extra)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found


def _assert_pruned_are_zero(found):
    for params, state in found:
        mask = trees.named_leaves(pruning.get_mask(state))
        weights = trees.named_leaves(pruning.sparse_params(params, state))
        held = trees.named_leaves(params)
        assert mask
        for name, m in mask.items():
            assert 0 < int(m.sum()) < m.size, name
            np.testing.assert_array_equal(jnp.where(m, 0, weights[name]), 0)
            if not pruning.keeps_dense(state):
                np.testing.assert_array_equal(held[name], weights[name])


@pytest.mark.slow
@pytest.mark.parametrize("around", AROUND)
def test_a_mask_holds_inside_of_wrappers(around):
    found = _train(AROUND[around](_method("static")), 2)
    _assert_pruned_are_zero(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "around"),
    [("rigl", around) for around in AROUND]
    + [("ste", around) for around in ("MultiSteps", "partition", "masked")],
)
def test_methods_work_inside_of_wrappers(name, around):
    found = _train(AROUND[around](_method(name)))
    _assert_pruned_are_zero(found)
    masks = [pruning.get_mask(state)["fc1"]["kernel"] for _, state in found]
    assert name != "rigl" or any((a != masks[-1]).any() for a in masks)
    numbers = pruning.statistics(found[-1][1])["fc1/kernel"]
    assert numbers["active"] == masks[-1].sum()


@pytest.mark.slow
@pytest.mark.parametrize("inside", INSIDE)
def test_wrappers_work_inside_of_methods(inside):
    extra = {"value": 1.0} if inside == "reduce_on_plateau" else {}
    found = _train(_method("rigl", INSIDE[inside]), **extra)
    _assert_pruned_are_zero(found)
    if inside == "schedule_free":
        params, state = found[-1]
        average = optax.contrib.schedule_free_eval_params(state.inner, params)
        mask = pruning.get_mask(state)["fc1"]["kernel"]
        np.testing.assert_array_equal(jnp.where(mask, 0, average["fc1"]["kernel"]), 0)


@pytest.mark.parametrize("other", ["apply_mask", "ste"])
def test_two_methods_share_the_leaves_of_a_partition(other):
    if other == "ste":
        second = pruning.ste(SGD, sparsity=0.5)
    else:
        mask = jax.tree.map(lambda w: w > 0 if w.ndim > 1 else None, PARAMS["fc2"])
        # In a partition a transform sees the other's leaves as masked nodes.
        masks = {"fc1": optax.MaskedNode(), "fc2": mask}
        second = optax.chain(SGD, pruning.apply_mask(masks))
    first = _method("one_shot")
    tx = optax.partition({"one": first, "other": second}, LABELS)
    found = _train(tx, 3)
    _assert_pruned_are_zero(found[2:])
    state = found[-1][1]
    names = trees.named_leaves(pruning.get_mask(state))
    assert set(names) == {"fc1/kernel", "fc2/kernel"}
    numbers = pruning.statistics(state)
    assert numbers["fc1/kernel"]["active"] == 12
    assert numbers["fc1/kernel"]["dropped"] == 12
    assert ("dropped" in numbers["fc2/kernel"]) == (other == "ste")


def test_two_masks_of_one_leaf_are_refused():
    mask = jax.tree.map(lambda w: w > 0 if w.ndim > 1 else None, PARAMS)
    tx = optax.chain(_method("static"), pruning.apply_mask(mask))
    with pytest.raises(ValueError, match=r"one mask of every leaf.*'fc1/kernel'"):
        pruning.get_mask(tx.init(PARAMS))


REFUSED = {
    "lookahead": (lambda tx: optax.lookahead(tx, 2, 0.5), "slow weights"),
    "schedule_free": (lambda tx: FREE(tx, 0.1), "put the method around it"),
    "mechanize": (optax.contrib.mechanize, "put the method around it"),
    "sam": (lambda tx: optax.contrib.sam(tx, optax.sgd(0.1)), "opaque_mode=True"),
    "the last link": (lambda tx: optax.chain(tx, optax.ema(0.9)), "EmaState"),
    "in the last link": (
        lambda tx: optax.named_chain(
            ("tx", tx), ("rate", optax.scale_by_schedule(lambda _: 0.5))
        ),
        "ScaleByScheduleState",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "ask",
    [pruning.get_mask, pruning.statistics, lambda s: pruning.sparse_params(PARAMS, s)],
    ids=["get_mask", "statistics", "sparse_params"],
)
def test_wrappers_that_would_move_pruned_weights_are_refused(name, ask):
    around, remedy = REFUSED[name]
    tx = optax.chain(optax.clip(1.0), around(_method("static")))
    both = optax.LookaheadParams(PARAMS, PARAMS)
    state = tx.init(both if name == "lookahead" else PARAMS)
    with pytest.raises(ValueError, match=rf"{name}.*{remedy}"):
        ask(state)


def test_wrappers_that_do_not_fit_inside_are_refused_at_init():
    tx = _method("static", optax.lookahead(SGD, 2, 0.5))
    with pytest.raises(ValueError, match=r"inner must not be optax\.lookahead"):
        tx.init(optax.LookaheadParams(PARAMS, PARAMS))
    tx = _method("static", optax.MultiSteps(SGD, 2).gradient_transformation())
    with pytest.raises(ValueError, match=r"MultiSteps around the whole"):
        tx.init(PARAMS)


def test_sam_works_where_its_own_steps_are_hidden():
    sam = optax.contrib.sam(_method("static"), optax.sgd(0.1), opaque_mode=True)
    state = sam.init(PARAMS)
    params = pruning.sparse_params(PARAMS, state)
    grads = jax.tree.map(jnp.sin, PARAMS)
    updates, state = sam.update(
        grads, state, params, grad_fn=lambda p, i: jax.tree.map(jnp.cos, p)
    )
    _assert_pruned_are_zero([(optax.apply_updates(params, updates), state)])
