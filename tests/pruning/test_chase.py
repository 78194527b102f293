"""Chase against a NumPy reference, and what it promises of channels and budget."""

import functools
import math
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import channels, kernels, pruning
from dst_jax.pruning.channel_removal import lowest_removed

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SHAPES = {"a": (3, 3, 2, 8), "b": (1, 1, 8, 6), "c": (20, 5)}
# The channels of `a`; those of `b`, of which `c` reads two positions each; and what is
# added to the channels of `b`: a bias that nothing prunes.
GROUPS = {
    "a": SimpleNamespace(
        size=8,
        members=[("a", 3, np.arange(8)), ("b", 2, np.arange(8))],
        roles=["produces", "reads"],
    ),
    "b": SimpleNamespace(
        size=6,
        members=[
            ("b", 3, np.arange(6)),
            ("bias", 0, np.arange(6)),
            ("c", 0, np.array([*range(6), *range(6), *[-1] * 8])),
        ],
        roles=["produces", "shifts", "reads"],
    ),
}
OPTIONS = {
    "sparsity": 0.6,
    "groups": GROUPS,
    "channel_sparsity": 0.45,
    "floor": 0.8,
    "channel_interval": 4,
    "channel_end": 15,
    "interval": 3,
    "explore_end": 15,
    "end": 24,
    "slack": 0.2,
    "final_slack": 0.05,
}
TOTAL = sum(math.prod(shape) for shape in SHAPES.values())


def _random(seed, levels):
    """Arrays of few different values, so that many are equal."""
    rng = np.random.default_rng(seed)
    found = {k: np.round(levels * rng.normal(size=s)) for k, s in SHAPES.items()}
    return {k: (w / levels).astype("f") for k, w in found.items()} | {
        "bias": np.zeros(6, "f")
    }


def _steps(options, *, levels=1, steps=24):
    """Weights, states and gradients of a training; its rate keeps values few."""
    tx = pruning.chase(optax.sgd(0.125), **(OPTIONS | options), seed=levels)
    params = _random(0, levels)
    state = tx.init(params)
    params = pruning.sparse_params(params, state)
    chex.clear_trace_counter()
    update = jit(chex.assert_max_traces(tx.update, n=1))
    found = [(params, state, params)]
    for i in range(steps):
        grads = _random(i + 1, levels)
        moves, state = update(grads, state, params)
        params = jax.device_get(optax.apply_updates(params, moves))
        found.append((params, jax.device_get(state), grads))
    return found


def _allowed(keep):
    """The positions of units that are kept."""
    allowed = {k: np.ones(s, bool) for k, s in SHAPES.items()}
    for name, group in GROUPS.items():
        for path, axis, units in group.members:
            for i, unit in enumerate(units):
                if path in allowed and unit >= 0 and not keep[name][unit]:
                    np.moveaxis(allowed[path], axis, 0)[i] = False
    return allowed


def _best(values, among, number):
    """The `number` largest values of some positions, the first where they are equal."""
    flat = np.concatenate([values[k].ravel() for k in SHAPES])
    may = np.concatenate([among[k].ravel() for k in SHAPES])
    order = [i for i in np.argsort(-flat, kind="stable") if may[i]][: max(number, 0)]
    chosen = np.zeros(flat.size, bool)
    chosen[order] = True
    ends = np.cumsum([math.prod(s) for s in SHAPES.values()])[:-1]
    parts = np.split(chosen, ends)
    return {k: p.reshape(SHAPES[k]) for k, p in zip(SHAPES, parts, strict=True)}


def _cosine(first, last, t, end):
    t = min(t, end)
    return last + (first - last) * (1 + math.cos(math.pi * t / end)) / 2


def _explored(weights, grads, mask, allowed, t, o):
    """The mask after an update of weights: prune to the budget, grow by gradient."""
    density = 1 - o["sparsity"]
    budget = math.floor(density * TOTAL + 0.5)
    active = sum(int(m.sum()) for m in mask.values())
    if t < o["explore_end"]:
        rho = density + _cosine(o["slack"], o["final_slack"], t, o["explore_end"])
        kept, target = budget, math.floor(rho * TOTAL + 0.5)
    else:
        fraction = _cosine(0.5, 0.005, t, o["end"])
        kept, target = min(active - math.floor(fraction * active), budget), budget
    left = _best({k: np.abs(w) for k, w in weights.items()}, mask, kept)
    room = {k: allowed[k] & ~left[k] for k in SHAPES}
    more = target - sum(int(m.sum()) for m in left.values())
    grown = _best({k: np.abs(grads[k]) for k in SHAPES}, room, more)
    return {k: left[k] | grown[k] for k in SHAPES}


def _check_removed(weights, before, after, t, o):
    """As many units go as should, the lowest, and no group falls below its floor."""
    scores = {k: np.abs(weights[k]).mean(axis=(0, 1, 2)) for k in GROUPS}
    total = sum(group.size for group in GROUPS.values())
    share = o["channel_sparsity"] * (1 - (1 - t / o["channel_end"]) ** 3)
    if t + o["channel_interval"] >= o["channel_end"]:
        share = o["channel_sparsity"]
    floors = {
        k: max(math.floor(g.size * (1 - o["channel_sparsity"]) * o["floor"]), 1)
        for k, g in GROUPS.items()
    }
    gone = sum(int((~after[k]).sum()) for k in GROUPS)
    room = sum(int(before[k].sum()) - floors[k] for k in GROUPS)
    had = sum(int((~before[k]).sum()) for k in GROUPS)
    assert gone == min(max(math.floor(share * total + 1e-9), had), had + room)
    for name in GROUPS:
        assert not (after[name] & ~before[name]).any()
        assert after[name].sum() >= min(floors[name], before[name].sum())
    went = {k: before[k] & ~after[k] for k in GROUPS}
    highest = max(
        (scores[k][went[k]].max() for k in GROUPS if went[k].any()), default=0
    )
    for name in GROUPS:
        if after[name].sum() > floors[name]:  # its floor has kept nothing back
            assert (scores[name][after[name]] >= highest - 1e-7).all()


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 1000], ids=["ties", "distinct"])
@pytest.mark.parametrize(
    "options",
    [{}, {"floor": 1.0}, {"channel_interval": 3, "interval": 2}],
    ids=["floors", "high floors", "one step"],
)
def test_every_step_is_that_of_the_reference(options, levels):
    o = OPTIONS | options
    found, removals = _steps(options, levels=levels), 0
    mask = pruning.get_mask(found[0][1])
    keep = pruning.kept_units(found[0][1])
    assert sum(int(mask[k].sum()) for k in SHAPES) == round(0.4 * TOTAL)
    for t, (weights, state, grads) in enumerate(found[1:], 1):
        before = found[t - 1][0]
        moved = {
            k: np.where(mask[k], before[k] - np.float32(0.125) * grads[k], 0)
            for k in SHAPES
        }
        if (t + o["interval"] // 2) % o["channel_interval"] == 0 and t < o[
            "channel_end"
        ]:
            left = pruning.kept_units(state)
            _check_removed(moved, keep, left, t, o)
            removals += sum(int((keep[k] & ~left[k]).sum()) for k in GROUPS)
            keep = left
            mask = {k: mask[k] & _allowed(keep)[k] for k in SHAPES}
        if (t % o["interval"] == 0 and t < o["end"]) or t == o["explore_end"]:
            mask = _explored(moved, grads, mask, _allowed(keep), t, o)
        now = pruning.get_mask(state)
        assert now["bias"] is None
        for k in SHAPES:
            np.testing.assert_array_equal(now[k], mask[k], err_msg=f"{k} at {t}")
            np.testing.assert_allclose(
                weights[k], np.where(mask[k], moved[k], 0), atol=1e-6
            )
        chex.assert_trees_all_equal(pruning.kept_units(state), keep)
    assert removals == math.floor(0.45 * 14) if o["floor"] < 1 else removals > 0


def test_which_of_equal_units_go_is_drawn():
    scores = {"a": jnp.array([0.0, 0.0, 0.0, 5.0]), "b": jnp.zeros(4)}
    keep = {k: jnp.ones(4, bool) for k in scores}
    floors = {"a": 3, "b": 0}
    left = [
        lowest_removed(scores, keep, 3, floors=floors, key=jax.random.key(i))
        for i in range(40)
    ]
    went = np.array([np.concatenate([~one["a"], ~one["b"]]) for one in left])
    assert (went.sum(1) == 3).all()
    assert (went[:, :4].sum(1) <= 1).all()
    assert (went.any(0) == [True] * 3 + [False] + [True] * 4).all()


UNITS = 20_000


def _single(options):
    """Numbers of active weights and of kept units of one layer at every step."""
    groups = {
        "w": SimpleNamespace(
            size=UNITS,
            members=[("kernel", 1, np.arange(UNITS))],
            roles=["produces"],
        )
    }
    given = {
        "sparsity": 0.9, "groups": groups, "channel_sparsity": 0.5, "floor": 0.5,
        "channel_interval": 1, "channel_end": 8, "interval": 1, "explore_end": 8,
        "end": 16,
    }  # fmt: skip
    tx = pruning.chase(optax.sgd(0.0), **(given | options))
    params = {"kernel": jax.random.normal(jax.random.key(0), (1, UNITS))}
    state = tx.init(params)
    update, found = jit(tx.update), []
    for _ in range(8):
        mask = pruning.get_mask(state)["kernel"]
        # What is pruned grows before what has just been dropped.
        _, state = update({"kernel": (~mask).astype("f")}, state, params)
        number = pruning.statistics(state)["kernel"]
        units = pruning.kept_units(state)["w"].sum()
        found.append([int(x) for x in (number["active"], units, number["dropped"])])
    return np.array(found).T


@pytest.mark.slow
def test_numbers_of_the_specification():
    """At 1/4, 1/2 and 3/4 of the way: s_c, rho and r, and what they end at."""
    active, units, _ = _single({})
    assert [UNITS - units[i] for i in (1, 3, 5, 7)] == [5781, 8750, 9843, 10000]
    assert [active[i] for i in (1, 3, 5, 7)] == [2854, 2500, 2146, 2000]
    options = {"channel_sparsity": 0.0, "explore_end": 0, "end": 8}
    _, _, dropped = _single(options)
    assert [dropped[i] for i in (1, 3, 5)] == [855, 505, 154]


def _active(state):
    """The number of active weights."""
    return sum(int(m.sum()) for m in jax.tree.leaves(pruning.get_mask(state)))


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_budget_is_that_of_the_whole_network(scope):
    found = _steps({"scope": scope}, levels=1000, steps=20)
    budget, end = round(0.4 * TOTAL), found[-1][1]
    numbers = [_active(state) for _, state, _ in found]
    assert max(numbers[1:]) <= budget + round(0.2 * TOTAL)
    assert numbers[15:] == [budget] * 6
    kept = {k: int(u.sum()) for k, u in pruning.kept_units(end).items()}
    assert sum(kept.values()) == 14 - 6
    if scope == "layer":  # the shares of the shapes that are left
        a, b = kept["a"], kept["b"]
        shapes = {"a": (3, 3, 2, a), "b": (1, 1, a, b), "c": (8 + 2 * b, 5)}
        size = sum(math.prod(s) for s in shapes.values())
        wanted = pruning.distributions.erk(shapes, 1 - budget / size)
        mask = pruning.get_mask(end)
        assert {k: int(mask[k].sum()) for k in SHAPES} == wanted


@pytest.mark.slow
def test_the_bound_ends_where_no_regular_update_follows():
    found = _steps({"explore_end": 20, "end": 20, "interval": 6}, steps=21)
    numbers = [_active(state) for _, state, _ in found]
    assert numbers[19] > round(0.4 * TOTAL)
    assert numbers[20:] == [round(0.4 * TOTAL)] * 2


@pytest.mark.slow
def test_groups_of_a_trace_and_a_score_of_channels():
    def net(params, x):
        h = jax.nn.relu(x @ params["fc1"]["kernel"] * params["fc1"]["scale"][None])
        return h @ params["fc2"]["kernel"]

    keys = jax.random.split(jax.random.key(0), 2)
    params = {
        "fc1": {"kernel": jax.random.normal(keys[0], (4, 8)), "scale": jnp.arange(8.0)},
        "fc2": {"kernel": jax.random.normal(keys[1], (8, 3))},
    }
    groups = channels.groups(net)(params, jnp.ones((1, 4)))
    options = OPTIONS | {"groups": groups, "score": channels.scores.bn_scale}
    tx = pruning.chase(optax.sgd(0.0), **(options | {"channel_sparsity": 0.5}))
    params = pruning.sparse_params(params, state := tx.init(params))
    update = jit(tx.update)
    for _ in range(12):
        moves, state = update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, moves)
    keep = pruning.kept_units(state)
    assert keep["fc1"].tolist() == [False] * 4 + [True] * 4
    mask = pruning.get_mask(state)
    assert not mask["fc1"]["kernel"][:, :4].any()
    assert not mask["fc2"]["kernel"][:4].any()
    small = channels.remove(params, groups, keep)
    x = jax.random.normal(jax.random.key(1), (5, 4))
    after = channels.smaller(net, groups, keep)(small, x)
    np.testing.assert_allclose(after, net(params, x), atol=1e-6)
    left = channels.remove(mask, groups, keep)
    assert int(left["fc1"]["kernel"].sum()) == int(mask["fc1"]["kernel"].sum())


BAD = {
    "channel_sparsity": (1.0, r"channel_sparsity must be in \[0, 1\), got 1.0"),
    "floor": (1.5, r"floor must be in \[0, 1\], got 1.5"),
    "channel_interval": (0, "channel_interval must be a finite number >= 1, got 0"),
    "interval": (0, "interval must be a finite number >= 1, got 0"),
    "channel_end": (25, "end must be a finite number >= 25, got 24"),
    "explore_end": (25, "end must be a finite number >= 25, got 24"),
    "slack": (0.7, "sparsity - slack must be"),
    "final_slack": (-0.1, r"final_slack must be in \[0, 1\], got -0.1"),
    "scope": ("erk", "scope must be one of"),
    "groups": ({}, "groups must hold what channel_sparsity=0.45 is of, got none"),
}


@pytest.mark.parametrize("name", BAD)
def test_options_out_of_range_are_refused(name):
    value, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        pruning.chase(optax.sgd(0.1), **(OPTIONS | {name: value}))


def test_a_removal_that_never_comes_is_refused():
    with pytest.raises(ValueError, match="first removal of channels, at 19, got 15"):
        pruning.chase(optax.sgd(0.1), **(OPTIONS | {"channel_interval": 20}))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("nowhere", 0, range(8))], "group a must have a leaf among the parameters"),
        ([("a", 3, range(4))], "group a has 4 positions on axis 3 of a"),
        ([("a", 7, range(8))], "group a has 8 positions on axis 7 of a"),
        (
            [("a", 3, range(9))],
            r"group a must have units in -1..7, got \[0, .*, 8\] at a",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused(members, message):
    group = SimpleNamespace(size=8, members=members, roles=["produces"])

    def step(params):
        tx = pruning.chase(optax.sgd(0.1), **(OPTIONS | {"groups": {"a": group}}))
        return tx.update(params, tx.init(params), params)

    with pytest.raises(ValueError, match=message):
        jax.eval_shape(step, _random(0, 1))


def test_states_without_channels_are_refused():
    state = pruning.static(optax.sgd(0.1), sparsity=0.5).init({"w": jnp.ones((2, 2))})
    with pytest.raises(ValueError, match="must hold a method that removes channels"):
        pruning.kept_units(state)


def test_channels_are_counted_by_layer():
    mask = np.array([[1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 0]], bool)
    stack = np.stack([mask, ~mask])
    params = {"kernel": jnp.ones(stack.shape)}
    whole = kernels.Kernel(stack=(0,), inputs=(1,), outputs=(2,))
    state = pruning.apply_mask(
        {"kernel": jnp.asarray(stack)}, kernels={"kernel": whole}
    ).init(params)
    densities = pruning.channel_densities(state)
    np.testing.assert_allclose(densities["kernel/0"], [1, 0, 1 / 3, 2 / 3])
    found = pruning.channel_statistics(state)
    for name, sparser, empty in (("kernel/0", 2, 1), ("kernel/1", 2, 1)):
        assert found[name]["channels"] == 4
        assert found[name]["sparser_channels"] == sparser
        assert found[name]["empty_channels"] == empty
