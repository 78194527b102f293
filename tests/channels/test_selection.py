"""Scores, and what is kept by them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import allocation, channels
from tests.channels.test_partitions import CASES

SCORES = {
    "l1": channels.scores.l1,
    "l2": channels.scores.l2,
    "umm": channels.scores.umm,
    "fpgm": channels.scores.fpgm,
    "lamp": channels.scores.lamp,
}


def net(w, x):
    h = jax.nn.relu(x @ w["a"] * w["scale"][None])
    h2 = jax.nn.relu(h @ w["b"])
    return h2 @ w["c"], {"relu1": h, "relu2": h2}


def only_output(w, x):
    return net(w, x)[0]


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(3)
    shapes = {"a": (4, 6), "scale": (6,), "b": (6, 5), "c": (5, 3)}
    w = {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    x = jnp.asarray(rng.normal(size=(7, 4)), jnp.float32)
    return w, x, channels.groups(net, has_aux=True)(w, x)


@pytest.mark.slow
def test_scores_are_their_formulas(small):
    w, _, groups = small
    a, b, s = (np.asarray(w[k], np.float64) for k in ("a", "b", "scale"))
    found = {name: score(w, groups)["a"] for name, score in SCORES.items()}
    squares = (a**2).sum(0) + s**2 + (b**2).sum(1)
    np.testing.assert_allclose(
        found["l1"], abs(a).sum(0) + abs(s) + abs(b).sum(1), rtol=1e-5
    )
    np.testing.assert_allclose(found["l2"], np.sqrt(squares), rtol=1e-5)
    np.testing.assert_allclose(found["umm"], abs(a).mean(0), rtol=1e-5)
    distances = np.linalg.norm(a[:, :, None] - a[:, None], axis=0)
    np.testing.assert_allclose(found["fpgm"], distances.sum(1), rtol=1e-4)
    lamp = [u / squares[squares >= u].sum() for u in squares]
    np.testing.assert_allclose(found["lamp"], lamp, rtol=1e-5)


def test_a_scale_is_the_score_of_its_normalisation():
    def scaled(w, x):
        return (x @ w["a"] * w["scale"][None]) @ w["b"]

    rng = np.random.default_rng(0)
    shapes = {"a": (4, 6), "scale": (6,), "b": (6, 5)}
    w = {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}
    groups = channels.groups(scaled)(w, jnp.ones((1, 4)))
    scores = channels.scores.bn_scale(w, groups)
    np.testing.assert_allclose(scores["a"], abs(w["scale"]), rtol=1e-6)


def test_scores_of_data_are_their_formulas(small):
    w, x, groups = small
    maps = net(w, x)[1]
    h = np.asarray(maps["relu1"], np.float64)
    apoz = channels.scores.apoz(w, groups, activations=maps)["a"]
    np.testing.assert_allclose(apoz, (h != 0).mean(0), rtol=1e-6)
    wanda = channels.scores.wanda(w, groups, activations=maps)["a"]
    norms = np.sqrt((h**2).mean(0)) * abs(np.asarray(w["b"], np.float64)).sum(1)
    np.testing.assert_allclose(wanda, norms, rtol=1e-5)
    gradients = jax.grad(lambda w: net(w, x)[0].sum())(w)
    taylor = channels.scores.taylor(w, groups, gradients=gradients)["a"]
    products = {k: abs(np.asarray(w[k] * gradients[k])) for k in w}
    expected = products["a"].sum(0) + products["scale"] + products["b"].sum(1)
    np.testing.assert_allclose(taylor, expected, rtol=1e-5)


def test_a_missing_map_or_scale_is_named(small):
    w, x, groups = small
    maps = net(w, x)[1]
    with pytest.raises(ValueError, match="group 'b' has no map"):
        channels.scores.apoz(w, groups, activations={"relu1": maps["relu1"]})
    with pytest.raises(ValueError, match="must be among the auxiliary output"):
        channels.scores.apoz(w, groups, activations={"relu3": maps["relu1"]})
    with pytest.raises(ValueError, match=r"group 'b' must have a leaf .* that scales"):
        channels.scores.bn_scale(w, groups)


def test_a_ratio_counts_units(small):
    _, _, groups = small
    scores = {"a": np.arange(6.0), "b": 10.0 + np.arange(5.0)}
    kept = channels.select(scores, groups, ratio=0.5)
    assert {k: v.tolist() for k, v in kept.items()} == {
        "a": [False] * 5 + [True],
        "b": [True] * 5,
    }
    kept = channels.select(scores, groups, ratio=0.5, scope="group")
    assert [int(v.sum()) for v in kept.values()] == [3, 3]
    assert kept["a"].tolist() == [False] * 3 + [True] * 3


def test_floors_and_multiples(small):
    _, _, groups = small
    scores = {"a": np.zeros(6), "b": np.ones(5)}

    def counts(**options):
        found = channels.select(scores, groups, **options)
        return [int(kept.sum()) for kept in found.values()]

    assert counts(threshold=0.5) == [1, 5]
    assert counts(threshold=0.5, floor=2) == [2, 5]
    assert counts(threshold=0.5, floor=0.5) == [3, 5]
    assert counts(threshold=2.0, floor={"b": 3}) == [1, 3]
    assert counts(threshold=2.0, multiple_of=2) == [2, 2]
    assert counts(threshold=2.0, floor=3, multiple_of=4) == [4, 4]


def exact(loss, cost, *, budget):
    return allocation.exact(loss, cost, budget=budget, resolution=2000)


@pytest.mark.parametrize("solver", [None, allocation.greedy, exact])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_budget_is_met_within_one_unit(small, solver, share):
    w, x, groups = small
    relaxed = channels.relaxed(only_output, groups)

    def cost(keep):
        return relaxed.exact(keep, w, x)[0]

    budget = share * cost({})
    scores = channels.scores.l2(w, groups)
    kept = channels.select(scores, groups, budget=budget, cost=cost, solver=solver)
    assert cost(kept) <= budget
    for name, own in kept.items():
        if not own.all():
            more = own.copy()
            more[np.flatnonzero(~own)[0]] = True
            assert cost({**kept, name: more}) > budget


@pytest.mark.parametrize("multiple_of", [1, 2])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_every_group_loses_the_same_share_for_a_budget(small, share, multiple_of):
    _, _, groups = small
    scores = {"a": np.arange(6.0) * 1e6, "b": np.arange(5.0)}

    def cost(keep):  # units of "a" cost most
        sizes = {name: group.size for name, group in groups.items()}
        kept = {name: int(np.sum(keep[name])) for name in keep}
        a, b = (sizes | kept)["a"], (sizes | kept)["b"]
        return 1000 * a + a * b + b

    options = {"scope": "group", "multiple_of": multiple_of}
    budget = share * cost({})
    kept = channels.select(scores, groups, budget=budget, cost=cost, **options)
    assert cost(kept) <= budget
    # Of all shares that fit the least is found: a smaller one costs too much; and what
    # is left of the budget is filled up.
    counts = [int(own.sum()) for own in kept.values()]
    for lost in np.linspace(0, 1, 201):
        allowed = [
            [n for n in {*range(multiple_of, size, multiple_of), size}]
            for size in (6, 5)
        ]
        every = [
            min(n for n in own if n >= min(max(own[-1] - int(lost * size), 1), size))
            for own, size in zip(map(sorted, allowed), (6, 5), strict=True)
        ]
        a, b = every
        if 1000 * a + a * b + b <= budget:
            assert all(x >= y for x, y in zip(counts, every, strict=True))
            break
    assert kept["a"].tolist() == sorted(kept["a"].tolist())


def test_a_solver_shares_out_between_groups_only(small):
    _, _, groups = small
    with pytest.raises(ValueError, match="solver is for scope 'global'"):
        channels.select(
            {"a": np.ones(6)},
            groups,
            budget=1.0,
            cost=lambda keep: 1.0,
            scope="group",
            solver=allocation.greedy,
        )


def test_a_budget_beats_nothing_that_brute_force_finds(small):
    """For a cost that is linear, what is lost is the least."""
    _, _, groups = small
    rng = np.random.default_rng(0)
    scores = {"a": rng.random(6), "b": rng.random(5)}

    def cost(keep):
        return 3 * keep["a"].sum() + 2 * keep["b"].sum()

    def lost(counts):
        return sum(
            np.sort(s)[: s.size - n].sum()
            for s, n in zip(scores.values(), counts, strict=True)
        )

    kept = channels.select(
        scores, groups, budget=17, cost=cost, solver=allocation.exact
    )
    every = itertools.product(range(1, 7), range(1, 6))
    best = min(lost(c) for c in every if 3 * c[0] + 2 * c[1] <= 17)
    assert lost([own.sum() for own in kept.values()]) == pytest.approx(best)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of .* must be given"),
        ({"ratio": 0.5, "threshold": 1.0}, "one of .* must be given"),
        ({"ratio": 1.5}, "ratio must be in"),
        ({"budget": 3.0}, "budget needs cost"),
        ({"budget": 3.0, "cost": lambda keep: 4}, "budget must be at least 4"),
        ({"ratio": 0.5, "scope": "layer"}, "scope must be one of"),
        ({"ratio": 0.5, "floor": 7}, "floor must be"),
        ({"ratio": 0.5, "multiple_of": 0}, "multiple_of must be at least 1"),
    ],
)
def test_bad_options_are_named(small, options, message):
    w, _, groups = small
    with pytest.raises(ValueError, match=message):
        channels.select(channels.scores.l1(w, groups), groups, **options)


def test_bad_scores_are_named(small):
    _, _, groups = small
    with pytest.raises(ValueError, match=r"scores\['a'\] must have shape \(6,\)"):
        channels.select({"a": np.ones(3)}, groups, ratio=0.5)
    with pytest.raises(ValueError, match=r"scores\['a'\] must be finite"):
        channels.select({"a": np.full(6, np.nan)}, groups, ratio=0.5)
    with pytest.raises(ValueError, match="group must be one of"):
        channels.select({"z": np.ones(3)}, groups, ratio=0.5)


def test_joint_units_are_scored_once():
    case = CASES["heads"]
    weights, x = case.weights(), case.input()
    groups = channels.groups(case.fn)(weights, x)
    found = channels.scores.umm(weights, groups)["qkv"]
    heads = np.asarray(abs(weights["qkv"])).reshape(7, 3, 4, 5).mean((0, 1, 3))
    np.testing.assert_allclose(found, heads, rtol=1e-5)
