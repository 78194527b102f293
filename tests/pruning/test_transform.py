"""The frame around an optimizer: what it changes, and what it leaves alone."""

import functools
import inspect
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from dst_jax import pruning
from dst_jax.pruning import packing, structures

# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def _params():
    key = jax.random.key(0)
    return {"w": jax.random.normal(key, (24,)).reshape(4, 6), "b": jnp.ones(6)}


def _grads(i):
    rng = np.random.default_rng(i)
    return {
        "w": rng.normal(size=(4, 6)).astype("f"),
        "b": rng.normal(size=6).astype("f"),
    }


def _run(tx, steps, params=None, state=None, start=0):
    params = _params() if params is None else params
    state = tx.init(params) if state is None else state
    step = jit(tx.update)
    found = []
    for i in range(start, start + steps):
        updates, state = step(_grads(i), state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found


# The new mask is the old one moved on by one weight.
SHIFTING = pruning.Method(
    first=lambda params, key: jax.tree.map(
        lambda w: jnp.arange(w.size).reshape(w.shape) % 4 < 2, params
    ),
    refresh=lambda step: (jax.tree.map(lambda m: jnp.roll(m, 1), step.mask), ()),
    due=pruning.schedules.every(2),
)


def test_no_optimizer_step_is_lost_on_a_mask_update():
    found = _run(pruning.sparsify(optax.sgd(0.1), SHIFTING), 2)
    (before, _), (after, state) = found
    stays = pruning.get_mask(found[0][1])["w"] & pruning.get_mask(state)["w"]
    moved = before["w"] - 0.1 * _grads(1)["w"]
    np.testing.assert_allclose(after["w"][stays], moved[stays], rtol=1e-6)
    np.testing.assert_allclose(
        after["b"], before["b"] - 0.1 * _grads(1)["b"], rtol=1e-6
    )


def test_skip_update_takes_the_mask_update_instead():
    tx = pruning.sparsify(optax.adam(0.1), SHIFTING, skip_update=True)
    found = _run(tx, 3)
    (before, old), (after, new), (later, _) = found
    assert (after["b"] == before["b"]).all()
    assert (later["b"] != after["b"]).all()
    stays = pruning.get_mask(old)["w"] & pruning.get_mask(new)["w"]
    assert (after["w"][stays] == before["w"][stays]).all()
    assert (pruning.get_mask(old)["w"] != pruning.get_mask(new)["w"]).any()
    assert optax.tree_utils.tree_get(new.inner, "count") == 1


def test_the_inner_optimizer_sees_gradients_of_kept_weights():
    state = _run(pruning.sparsify(optax.sgd(0.1, momentum=0.9), SHIFTING), 1)[0][1]
    trace = optax.tree_utils.tree_get(state.inner, "trace")
    mask = np.asarray(pruning.get_mask(state)["w"])
    np.testing.assert_array_equal(trace["w"], np.where(mask, _grads(0)["w"], 0))
    np.testing.assert_array_equal(trace["b"], _grads(0)["b"])


def test_a_method_that_does_not_hold_trains_dense_weights():
    straight = pruning.Method(
        SHIFTING.first, SHIFTING.refresh, SHIFTING.due,
        gradients=lambda step: step.grads, holds=False)  # fmt: skip
    params, state = _run(pruning.sparsify(optax.sgd(0.1), straight), 3)[-1]
    plain, _ = _run(optax.sgd(0.1), 3)[-1]
    chex.assert_trees_all_close(params, plain, rtol=1e-6)
    seen = pruning.sparse_params(params, state)
    assert (seen["w"] == 0).sum() == 12


def test_weights_may_be_adjusted_after_the_optimizers_step():
    """Here a projection: what would become negative is exactly 0."""
    method = pruning.Method(
        first=SHIFTING.first,
        adjust=lambda step: jax.tree.map(lambda w: jnp.maximum(w, 0), step.params),
    )
    mask = np.arange(24).reshape(4, 6) % 4 < 2
    found = _run(pruning.sparsify(optax.sgd(0.1), method), 2)
    expected, bias = np.where(mask, _params()["w"], 0), _params()["b"]
    for i, (params, _) in enumerate(found):
        moved = expected - 0.1 * np.where(mask, _grads(i)["w"], 0)
        assert (moved < 0).any()
        expected = np.maximum(moved, 0)
        np.testing.assert_allclose(params["w"], expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(params["w"] == 0, expected == 0)
        bias = bias - 0.1 * _grads(i)["b"]
        np.testing.assert_allclose(params["b"], bias, rtol=1e-6)


def test_a_lost_step_is_not_adjusted():
    method = pruning.Method(
        first=SHIFTING.first,
        due=pruning.schedules.every(1),
        adjust=lambda step: jax.tree.map(jnp.zeros_like, step.params),
    )
    tx = pruning.sparsify(optax.sgd(0.1), method, skip_update=True)
    kept = pruning.sparse_params(_params(), tx.init(_params()))
    updates, _ = tx.update(_grads(0), tx.init(_params()), kept)
    assert (optax.apply_updates(kept, updates)["w"] == kept["w"]).all()


def test_the_network_may_compute_with_other_weights_than_those_of_the_mask():
    class Halved(NamedTuple):
        times: jax.Array

        def effective(self, mask, params):
            half = jax.tree.map(lambda w: w * self.times, params)
            return pruning.masks.apply(mask, half)

    method = pruning.Method(
        SHIFTING.first, memory=lambda params, mask: Halved(jnp.float32(0.5))
    )
    tx = optax.chain(optax.identity(), pruning.sparsify(optax.sgd(0.1), method))
    state = tx.init(_params())
    expected = np.where(pruning.get_mask(state)["w"], 0.5 * _params()["w"], 0)
    found = pruning.sparse_params(_params(), state)
    np.testing.assert_array_equal(found["w"], expected)


def test_sparse_params_of_a_part_of_the_network():
    labels = {"w": "sparse", "b": "dense"}
    tx = optax.multi_transform(
        {"sparse": pruning.ste(optax.sgd(0.1), sparsity=0.5), "dense": optax.sgd(0.1)},
        labels,
    )
    seen = pruning.sparse_params(_params(), tx.init(_params()))
    assert (seen["w"] == 0).sum() == 12
    np.testing.assert_array_equal(seen["b"], _params()["b"])


def test_memory_is_observed_at_every_step_and_seen_by_the_update():
    method = pruning.Method(
        first=SHIFTING.first,
        refresh=lambda step: (step.mask, step.memory + 100),
        due=pruning.schedules.every(3),
        memory=lambda params, mask: jnp.int32(0),
        observe=lambda step: step.memory + 1,
    )
    found = _run(pruning.sparsify(optax.sgd(0.1), method), 4)
    assert [int(state.memory) for _, state in found] == [1, 2, 103, 104]


def test_movement_scores_are_sums_over_steps():
    tx = pruning.gradual_movement(optax.sgd(0.1), sparsity=0.5, end=9, interval=9)
    found = _run(tx, 3)
    weights = [_params(), found[0][0], found[1][0]]
    exact = sum(p["w"] * _grads(i)["w"] for i, p in enumerate(weights))
    np.testing.assert_allclose(found[-1][1].memory["w"], exact, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rigl", "gradual_magnitude"])
def test_packed_masks_give_the_same_and_take_an_eighth(name):
    options = {"sparsity": 0.5, "end": 6, "interval": 2, "track": True}
    plain, packed = (
        _run(pruning.create(name, optax.adam(0.1), **options, packed=p), 5)[-1]
        for p in (False, True)
    )
    chex.assert_trees_all_equal(plain[0], packed[0])
    chex.assert_trees_all_equal(*map(pruning.get_mask, (plain[1], packed[1])))
    chex.assert_trees_all_equal(*map(pruning.statistics, (plain[1], packed[1])))
    assert packed[1].held.mask["w"].bits.nbytes == 3
    assert packed[1].ever["w"].bits.nbytes == 3


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (9,), (3, 5), (2, 2, 2)])
def test_packing_round_trips(shape):
    mask = np.random.default_rng(0).random(shape) < 0.5
    packed = packing.pack({"m": jnp.asarray(mask), "none": None})
    assert packed["m"].bits.shape == (-(-mask.size // 8),)
    found = packing.unpack(packed)
    assert found["none"] is None
    np.testing.assert_array_equal(found["m"], mask)


@pytest.mark.parametrize(
    ("shape", "bits"),
    [
        ((16, 3), (2, 3)),
        ((3, 16), (3, 2)),
        ((8, 16), (8, 2)),
        ((3, 3, 64, 24), (3, 3, 8, 24)),
    ],
)
def test_a_packed_leaf_keeps_its_axes(shape, bits):
    mask = np.random.default_rng(0).random(shape) < 0.5
    packed = packing.pack({"m": jnp.asarray(mask)})
    assert packed["m"].bits.shape == bits
    np.testing.assert_array_equal(packing.unpack(packed)["m"], mask)


def test_apply_mask_may_be_packed():
    mask = {"w": jnp.arange(24).reshape(4, 6) % 3 == 0, "b": None}
    results = []
    for packed in (False, True):
        tx = optax.chain(optax.adam(0.1), pruning.apply_mask(mask, packed=packed))
        results.append(_run(tx, 2)[-1])
    chex.assert_trees_all_equal(results[0][0], results[1][0])
    chex.assert_trees_all_equal(*(pruning.get_mask(s) for _, s in results))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rigl", {"interval": 2}),
        ("gradual_movement", {"interval": 2}),
        ("constrained_l0", {"gates": optax.adam(0.1)}),
    ],
)
def test_resumes_to_the_bit_through_orbax(name, options, tmp_path):
    options = {"sparsity": 0.5, "end": 6, "packed": True, "track": True} | options
    tx = pruning.create(name, optax.adam(0.1), **options)
    found = _run(tx, 5)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", found[2])
        checkpointer.wait_until_finished()
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), found[2]
        )
        params, state = checkpointer.restore(tmp_path / "state", template)
    chex.assert_trees_all_equal(_run(tx, 2, params, state, start=3)[-1], found[-1])


def test_a_given_first_mask_is_kept_and_decides_what_is_prunable():
    mask = {"w": jnp.arange(24).reshape(4, 6) < 5, "b": jnp.arange(6) < 3}
    tx = pruning.rigl(optax.sgd(0.1), sparsity=0.9, end=9, interval=2, mask=mask)
    params, state = _run(tx, 3)[-1]
    assert {k: int(m.sum()) for k, m in pruning.get_mask(state).items()} == {
        "w": 5, "b": 3}  # fmt: skip
    assert (params["b"] == 0).sum() == 3
    with pytest.raises(ValueError, match=r"mask at w has shape \(2,\)"):
        pruning.rigl(
            optax.sgd(0.1),
            sparsity=0.9,
            end=9,
            mask={"w": jnp.ones(2, bool), "b": None},
        ).init(_params())


def test_a_given_mask_may_cover_a_leaf_without_elements():
    params = _params() | {"empty": jnp.zeros((0, 3))}
    mask = {"w": jnp.arange(24).reshape(4, 6) < 5, "b": None}
    mask["empty"] = jnp.zeros((0, 3), bool)
    tx = pruning.constrained_l0(
        optax.sgd(0.1), sparsity=0.5, end=9, scope="global", mask=mask
    )
    state = tx.init(params)
    assert pruning.get_mask(state)["empty"] is None
    _, state = tx.update(jax.tree.map(jnp.cos, params), state, params)
    assert jnp.isfinite(state.memory.multiplier["w"])


def test_donated_states_leave_the_callers_arrays_alone():
    mask = {"w": jnp.arange(24).reshape(4, 6) < 5, "b": None}
    tx = pruning.set_(optax.adam(0.1), sparsity=0.5, interval=2, mask=mask, track=True)
    params = _params()
    state = tx.init(params)
    step = jax.jit(tx.update, donate_argnums=1)
    for i in range(3):
        _, state = step(_grads(i), state, params)
    assert not mask["w"].is_deleted()
    assert not params["w"].is_deleted()


@pytest.mark.parametrize("vmapped", [False, True])
def test_an_ensemble_chooses_alike_unless_its_seeds_are_vmapped(vmapped):
    members = jax.tree.map(lambda x: jnp.stack([x, x]), _params())
    grads = jax.tree.map(jnp.ones_like, members)

    def masks(params, grads, seed):
        """The first mask, and the one after weights were grown at random."""
        tx = pruning.set_(optax.sgd(0.1), sparsity=0.5, interval=1, seed=seed)
        first = tx.init(params)
        _, second = tx.update(grads, first, params)
        return [pruning.get_mask(state)["w"] for state in (first, second)]

    seeds, axis = (jnp.arange(2), 0) if vmapped else (0, None)
    for first, second in jit(jax.vmap(masks, (0, 0, axis)))(members, grads, seeds):
        assert first.sum() == second.sum() == 12
        assert (first == second).all() != vmapped


def test_one_compilation_serves_a_sweep_of_hyperparameters():
    @jax.jit
    def kept(sparsity, fraction, seed):
        tx = pruning.rigl(
            optax.sgd(0.1), sparsity=sparsity, drop_fraction=fraction, end=10,
            interval=1, seed=seed)  # fmt: skip
        state = tx.init(_params())
        _, state = tx.update(_grads(0), state, _params())
        return pruning.get_mask(state)["w"]

    masks = [kept(s, 0.3, seed) for s in (0.25, 0.75) for seed in (0, 1)]
    assert [int(m.sum()) for m in masks] == [18, 18, 6, 6]
    assert (masks[2] != masks[3]).any()
    assert kept._cache_size() == 1


def test_a_prunable_leaf_without_gradient_is_named():
    params = {"w": _params()["w"], "frozen": _params()["w"]}
    grads = {"w": _grads(0)["w"], "frozen": None}
    tx = pruning.set_(optax.sgd(0.1), sparsity=0.5, interval=1)
    with pytest.raises(ValueError, match="the update of frozen is None"):
        tx.update(grads, tx.init(params), params)
    tx = pruning.set_(
        optax.sgd(0.1), sparsity=0.5, interval=1, rules=[("frozen", False)]
    )
    updates, _ = tx.update(grads, tx.init(params), params)
    assert updates["frozen"] is None
    assert updates["w"].shape == (4, 6)


def test_extra_arguments_reach_the_inner_optimizer():
    def update(updates, state, params=None, *, factor):
        return jax.tree.map(lambda g: factor * g, updates), state

    inner = optax.GradientTransformationExtraArgs(lambda p: (), update)
    tx = pruning.static(inner, sparsity=0.5)
    updates, _ = tx.update(_grads(0), tx.init(_params()), _params(), factor=2.0)
    np.testing.assert_array_equal(updates["b"], 2 * _grads(0)["b"])


def test_a_new_method_is_one_function():
    @pruning.method
    def keep_the_first(*, kept: int = 3) -> pruning.Method:
        def first(params, key):
            return jax.tree.map(
                lambda w: jnp.arange(w.size).reshape(w.shape) < kept, params
            )

        return pruning.Method(first)

    tx = keep_the_first(optax.adam(0.1), kept=5, track=True)
    assert pruning.get_mask(tx.init(_params()))["w"].sum() == 5
    names = list(inspect.signature(keep_the_first).parameters)
    assert names[:2] == ["inner", "kept"]
    assert "skip_update" in names


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pruning.static("sgd", sparsity=0.5), TypeError, "inner"),
        (
            lambda: pruning.static(optax.sgd(0.1), sparsity=0.5).init(
                {"b": jnp.ones(2)}
            ),
            ValueError,
            "nothing to prune",
        ),
        (
            lambda: pruning.static(
                optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(),
                sparsity=0.5,
            ).init(_params()),
            ValueError,
            "wrap MultiSteps around the whole",
        ),
        (
            lambda: pruning.static(optax.sgd(0.1), sparsity=0.5).update(
                _grads(0),
                pruning.static(optax.sgd(0.1), sparsity=0.5).init(_params()),
            ),
            ValueError,
            "params are needed",
        ),
        (
            lambda: pruning.static(
                optax.sgd(0.1), sparsity=0.5, rules=[("x", True)]
            ).init(_params()),
            ValueError,
            "'x' matches none of: b, w",
        ),
    ],
)
def test_bad_use_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("given", [False, True])
def test_a_layer_that_an_int32_cannot_count_is_refused_by_name(given):
    large = {"a": {"kernel": jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32)}}
    mask = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape, bool), large)

    def init(params, mask):
        structure = structures.n_m(2, 4)
        tx = pruning.sr_ste(optax.sgd(0.1), structure=structure, mask=mask)
        return tx.init(params)

    message = "at most 2147483647 weights, got 2147483648 in a/kernel"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(init, large, mask if given else None)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda m, p: pruning.statistics(pruning.apply_mask(m).init(p)), mask, large
        )
