"""What single methods promise beyond the contract, and how they refuse bad options."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning

# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def _params():
    key = jax.random.key(0)
    draws = jax.random.normal(key, (4, 24)).reshape(4, 4, 6)
    return {name: draws[i] for i, name in enumerate("abcd")}


def _masks(tx, steps):
    params = _params()
    state = tx.init(params)
    step = jit(tx.update)
    found = [pruning.get_mask(state)]
    for i in range(steps):
        rng = np.random.default_rng(i)
        grads = {k: rng.normal(size=(4, 6)).astype("f") for k in "abcd"}
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
        found.append(pruning.get_mask(state))
    return found


def _active(mask):
    return [int(mask[k].sum()) for k in "abcd"]


def test_gap_takes_the_parts_in_turn():
    tx = pruning.gap(
        optax.sgd(0.1), sparsity=0.75, interval=2, partitions=[("a|b", 0), ("c|d", 1)],
        rounds=2)  # fmt: skip
    active = [_active(m) for m in _masks(tx, 9)]
    first, second, sparse = [24, 24, 6, 6], [6, 6, 24, 24], [6, 6, 6, 6]
    expected = [first] * 2 + [second] * 2 + [first] * 2 + [second] * 2 + [sparse] * 2
    assert active == expected


def test_gap_parts_by_number_and_in_parallel():
    mask = {k: jnp.zeros((4, 6), bool) for k in "abcd"}
    copies, masks = pruning.gap_copies(_params(), mask, 2)
    assert [_active(jax.tree.map(lambda m: m[i], masks)) for i in range(2)] == [  # noqa: B023
        [24, 24, 0, 0],
        [0, 0, 24, 24],
    ]
    # Copies train side by side, each with its own mask, in one vmapped step.
    tx = pruning.apply_mask(mask)
    state = jax.vmap(lambda m, p: pruning.apply_mask(m).init(p))(masks, copies)
    grads = jax.tree.map(jnp.ones_like, copies)
    updates, _ = jax.vmap(tx.update)(grads, state, copies)
    copies = optax.apply_updates(copies, updates)
    merged = pruning.gap_merge(copies, mask, 2)
    for k in "abcd":  # each was dense where it was trained
        np.testing.assert_allclose(merged[k], _params()[k] + 1, rtol=1e-6)


def test_granet_prunes_over_all_layers_and_regrows_within_each():
    tx = pruning.granet(
        optax.sgd(0.1), sparsity=0.75, initial_sparsity=0.0, prune_end=4, end=20,
        interval=2)  # fmt: skip
    masks = _masks(tx, 10)
    totals = [sum(_active(m)) for m in masks]
    assert totals[0] == 96
    assert totals[4:] == [24] * 7
    assert _active(masks[4]) == _active(masks[10])  # no pruning is left to do
    assert any((masks[4][k] != masks[10][k]).any() for k in "abcd")


def test_mest_exceeds_its_budget_by_its_bound():
    tx = pruning.mest(
        optax.sgd(0.1), sparsity=0.75, bound=0.25, end=8, interval=2, decay="linear"
    )
    totals = [sum(_active(m)) for m in _masks(tx, 9)]
    # 24 + 24 (1 - t / 8) at t = 2, 4, 6, and the budget at 8
    assert totals == [24, 24, 42, 42, 36, 36, 30, 30, 24, 24]


def test_srigl_has_one_fan_in_for_all_neurons_left():
    tx = pruning.srigl(
        optax.sgd(0.1), sparsity=0.5, end=20, interval=2, output=["d"], ablation=0.9,
        drop_fraction=0.5, distribution="uniform")  # fmt: skip
    masks = _masks(tx, 10)
    neurons = []
    for mask in masks:
        for k in "abcd":
            fan_in = np.asarray(mask[k]).sum(0)
            alive = fan_in[fan_in > 0]
            assert (alive == alive[0]).all()
            assert alive[0] == min(12 // alive.size, 4)
        neurons.append([int((np.asarray(mask[k]).sum(0) > 0).sum()) for k in "abcd"])
    assert neurons[0] == [6] * 4
    assert min(neurons[-1]) < 6
    assert (np.diff(neurons, axis=0) > 0).any()  # ablated neurons may return
    assert all(n[3] == 6 for n in neurons)


def _srigl_update(mask, w, g, *, ablation, drop=0.5):
    """The mask after one update of a layer of 8 inputs that keeps a quarter."""
    tx = pruning.srigl(
        optax.sgd(0.0), sparsity=0.75, end=9, interval=1, output=[], decay="constant",
        ablation=ablation, drop_fraction=drop, distribution="uniform",
        mask={"w": jnp.array(mask, bool)})  # fmt: skip
    params = {"w": jnp.array(w, jnp.float32)}
    state = tx.init(params)
    _, state = tx.update({"w": jnp.array(g, jnp.float32)}, state, params)
    return np.asarray(pruning.get_mask(state)["w"]).astype(int)


def _lines(*rows):
    """An array of 8 inputs whose first rows are given."""
    return np.concatenate([rows, np.zeros((8 - len(rows), len(rows[0])))])


def test_srigl_by_hand():
    # Neurons are columns. Of six weights, four stay: all in the first two neurons. The
    # two steepest are among those, so that the third has no salient weight.
    mask = _lines([1, 1, 1], [1, 1, 1])
    size = _lines([9, 8, 1], [7, 6, 2])
    steep = _lines([9, 9, 0], [0, 0, 0], [1, 2, 4], [2, 1, 5])
    found = _srigl_update(mask, size, steep, ablation=0.3, drop=1 / 3)
    # Six weights for two neurons: three each, the third by gradient.
    expected = _lines([1, 1, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0])
    np.testing.assert_array_equal(found, expected)
    # Without ablation every neuron goes on with two weights.
    found = _srigl_update(mask, size, steep, ablation=0.0, drop=1 / 3)
    np.testing.assert_array_equal(found.sum(0), [2, 2, 2])


def test_srigl_counts_ablated_neurons_again():
    mask = _lines(*3 * [[1, 1, 0]])
    size = _lines([9, 9, 0], [8, 8, 0], [1, 1, 0])
    steep = _lines([0, 0, 7], [0, 0, 6], [0, 0, 5])
    found = _srigl_update(mask, size, steep, ablation=1.0, drop=1 / 3)
    # Two of its weights are salient, as many as each neuron's share of the six.
    expected = _lines([1, 1, 1], [1, 1, 1])
    np.testing.assert_array_equal(found, expected)


def test_srigl_compares_with_the_fan_in_before_any_ablation():
    # Two of four neurons share eight weights; half of the four of each would be two,
    # but the fan-in of four neurons is two, and half of that one.
    mask = _lines(*4 * [[1, 1, 0, 0]])
    size = _lines([9, 1, 0, 0], [9, 0.1, 0, 0], [9, 0.1, 0, 0], [9, 0.1, 0, 0])
    steep = _lines([7, 0, 0, 0], [6, 0, 0, 0], [5, 0, 0, 0])
    found = _srigl_update(mask, size, steep, ablation=0.5, drop=3 / 8)
    np.testing.assert_array_equal(found.sum(0), [4, 4, 0, 0])


def test_srigl_lowers_its_threshold_rather_than_lose_the_layer():
    # No neuron has all of its two weights salient, but two must stay to hold six.
    mask = _lines([1, 1, 1], [1, 1, 1])
    size = _lines([9, 8, 7], [1, 2, 3])
    steep = _lines([9, 8, 7])
    found = _srigl_update(mask, size, steep, ablation=1.0)
    np.testing.assert_array_equal(found.sum(0), [2, 2, 2])
    steep = _lines([0, 0, 0], [0, 0, 0], [9, 8, 0], [7, 0, 0])
    found = _srigl_update(mask, size, steep, ablation=1.0)
    np.testing.assert_array_equal(found.sum(0), [3, 3, 0])


def test_mest_scores_by_magnitude_alone_unless_told_otherwise():
    def kept(**options):
        tx = pruning.mest(
            optax.sgd(0.0), sparsity=0.5, bound=0.0, end=4, interval=1,
            mask={"w": jnp.ones((1, 4), bool)}, **options)  # fmt: skip
        params = {"w": jnp.array([[1.0, 2.0, 3.0, 4.0]])}
        state = tx.init(params)
        _, state = tx.update({"w": jnp.array([[9.0, 0, 0, 0]])}, state, params)
        return pruning.get_mask(state)["w"].tolist()[0]

    assert kept() == [False, False, True, True]
    assert kept(gradient_weight=1.0) == [True, False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("decay", ["constant", "cosine"])
def test_set_is_rigl_with_random_growth_and_the_same_decay(decay):
    options = {"sparsity": 0.5, "end": 3, "interval": 1, "drop_fraction": 0.9,
               "decay": decay, "distribution": "er"}  # fmt: skip
    found = _masks(pruning.set_(optax.sgd(0.1), **options), 3)
    same = _masks(pruning.rigl(optax.sgd(0.1), grow="random", **options), 3)
    assert all(
        (a[k] == b[k]).all() for a, b in zip(found, same, strict=True) for k in a
    )
    assert pruning.options("set")["decay"].default == "constant"
    with pytest.raises(ValueError, match="decay 'linear' needs end"):
        pruning.set_(optax.sgd(0.1), sparsity=0.5, decay="linear")


def _first_update(tx):
    """The step of the first new mask, and by how many weights it differs."""
    masks = _masks(tx, 4)
    changed = [sum(int((a[k] != b[k]).sum()) for k in "abcd") // 2
               for a, b in itertools.pairwise(masks)]  # fmt: skip
    return next(i for i, n in enumerate(changed, 1) if n), changed


def test_rigl_may_update_at_its_first_step():
    def first(**options):
        tx = pruning.rigl(
            optax.sgd(0.1), sparsity=0.5, end=9, interval=3, drop_fraction=0.5,
            **options)  # fmt: skip
        return [i for i, n in enumerate(_first_update(tx)[1], 1) if n]

    assert first() == [3]
    assert first(start=1) == [1, 4]


def test_itop_rounds_the_dropped_number_up():
    few = {"sparsity": 0.75, "end": 9, "interval": 1, "drop_fraction": 0.1}
    mask = {k: jnp.zeros((4, 6), bool).at[0].set(True) for k in "abcd"}
    tx = pruning.rigl_itop(optax.sgd(0.1), mask=mask, **few)
    assert _first_update(tx)[0] == 1  # one of six, though a tenth is less
    found = _masks(pruning.rigl(optax.sgd(0.1), mask=mask, **few), 1)
    assert all((found[0][k] == found[1][k]).all() for k in "abcd")


def test_rigl_lets_a_dropped_weight_return_with_its_value():
    tx = pruning.rigl(
        optax.sgd(0.0), sparsity=0.5, end=10, interval=1, drop_fraction=1.0,
        decay="constant")  # fmt: skip
    params = {"w": jnp.array([[1.0, 2.0, 3.0, 4.0]])}
    mask = {"w": jnp.array([[True, True, False, False]])}
    state = tx.init(params)
    state = state._replace(held=pruning.MaskState(mask))
    grads = {"w": jnp.array([[9.0, 0.0, 8.0, 0.0]])}
    updates, state = tx.update(grads, state, pruning.sparse_params(params, state))
    params = optax.apply_updates(pruning.sparse_params(params, state), updates)
    assert pruning.get_mask(state)["w"].tolist() == [[True, False, True, False]]
    assert updates["w"].tolist() == [[0.0, -2.0, 0.0, 0.0]]
    assert int(state.changes.dropped["w"]) == int(state.changes.grown["w"]) == 1


def test_names_and_options():
    assert {"set", "rigl", "granet", "srigl", "gap", "mest"} <= set(pruning.names())
    assert pruning.options("rigl")["drop_fraction"].default == 0.3
    assert "track" in pruning.options("static")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rigel", {}, r"method must be one of .*'rigl'.*got 'rigel'"),
        ("rigl", {"sparsity": 0.5}, r"rigl needs \['end'\]; it takes \['sparsity'"),
        ("rigl", {"speed": 1}, r"rigl has no option \['speed'\]; it takes"),
        ("static", {"sparsity": 1.0}, r"sparsity must be in \[0, 1\), got 1.0"),
        (
            "static",
            {"sparsity": float("nan")},
            r"sparsity must be in \[0, 1\), got nan",
        ),
        (
            "rigl",
            {"sparsity": 0.5, "end": 9, "interval": 0},
            "interval must be .* >= 1",
        ),
        (
            "rigl",
            {"sparsity": 0.5, "end": 9, "drop_fraction": 1.5},
            r"drop_fraction must be in \[0, 1\], got 1.5",
        ),
        ("rigl", {"sparsity": 0.5, "end": 9, "drop": "size"}, "drop must be one of"),
        (
            "rigl",
            {"sparsity": 0.5, "end": 9, "structure": pruning.structures.n_m(2, 4)},
            "structure must rank units against each other, got 2:4",
        ),
        (
            "gradual_magnitude",
            {"sparsity": 0.5, "end": 9, "initial_sparsity": 0.6},
            "sparsity must be a finite number >= 0.6, got 0.5",
        ),
        ("one_shot", {"sparsity": 0.5, "at": 0}, "at must be a finite number >= 1"),
        (
            "granet",
            {"sparsity": 0.5, "prune_end": 9, "end": 5},
            "end must be a finite number >= 9, got 5",
        ),
        ("mest", {"sparsity": 0.1, "end": 9, "bound": 0.2}, "sparsity - bound must be"),
        (
            "gap",
            {"sparsity": 0.5, "interval": 2, "partitions": [("a", 0), ("b", 2)]},
            r"partitions must be numbered from 0, got \[0, 2\]",
        ),
        ("srigl", {"sparsity": 0.5, "end": 9}, r"srigl needs \['output'\]"),
    ],
)
def test_bad_options_are_refused_at_construction(name, options, message):
    with pytest.raises(ValueError, match=message):
        pruning.create(name, optax.sgd(0.1), **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gap", {"interval": 2, "partitions": 5}, "at most the 4 layers, got 5"),
        ("gap", {"interval": 2, "distribution": "global"}, "got global"),
        (
            "gap",
            {"interval": 2, "partitions": [("a", 0), ("b", 1)]},
            r"place every layer, not \['c', 'd'\]",
        ),
        (
            "srigl",
            {"end": 9, "output": ["x"]},
            "output 'x' matches none of: a, b, c, d",
        ),
        (
            "srigl",
            {"end": 9, "output": [], "sparsity": 0.9},
            "a would keep 3 of 24 weights for 6 neurons",
        ),
    ],
)
def test_what_does_not_fit_the_network_is_refused_at_init(name, options, message):
    tx = pruning.create(name, optax.sgd(0.1), **{"sparsity": 0.5, **options})
    with pytest.raises(ValueError, match=message):
        tx.init(_params())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": 2**31}, "interval must be below 2.*31 in size, got 2147483648"),
        ({"end": 2**64}, r"end must be below 2\*\*31 in size"),
        ({"seed": 2**32}, r"seed must be in \[0, 2\*\*32\), got 4294967296"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
    ],
)
def test_a_number_that_a_device_cannot_hold_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.rigl(optax.sgd(0.1), **({"sparsity": 0.9, "end": 10} | options))
