"""Solvers of the allocation problem against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import allocation
from dst_jax.allocation import dynamic_programming
from dst_jax.allocation.problem import summed

SOLVERS = {
    "exact": allocation.exact,
    "greedy": allocation.greedy,
    "lagrangian": lambda *args, **kw: allocation.lagrangian(*args, **kw).choice,
}


@st.composite
def problems(draw, items=6, options=4):
    items, options = draw(st.integers(1, items)), draw(st.integers(1, options))
    numbers = st.lists(
        st.lists(st.integers(0, 9), min_size=options, max_size=options),
        min_size=items,
        max_size=items,
    )
    loss = np.array(draw(numbers), float)
    cost = np.array(draw(numbers), float)
    least = cost.min(axis=1).sum()
    return loss, cost, least + draw(st.integers(0, 12))


def _best(loss, cost, budget):
    """The least loss of all choices that fit, each of which is tried."""
    lost, spent = np.zeros(1), np.zeros(1)
    for own, price in zip(loss, cost, strict=True):
        lost, spent = np.add.outer(lost, own), np.add.outer(spent, price)
    return lost[spent <= budget].min()


@given(problems())
@settings(max_examples=80)
def test_exact_loses_what_brute_force_loses(problem):
    loss, cost, budget = problem
    choice = allocation.exact(loss, cost, budget=budget)
    assert summed(cost, choice) <= budget
    assert summed(loss, choice) == _best(loss, cost, budget)


@given(problems())
@settings(max_examples=80)
def test_the_gap_bounds_what_is_lost(problem):
    loss, cost, budget = problem
    found = allocation.lagrangian(loss, cost, budget=budget)
    best = _best(loss, cost, budget)
    lost = summed(loss, found.choice)
    assert summed(cost, found.choice) <= budget
    assert best <= lost <= best + found.gap + 1e-6


@given(problems())
@settings(max_examples=80)
def test_greedy_fits_and_cannot_be_bettered_by_one_exchange(problem):
    loss, cost, budget = problem
    choice = allocation.greedy(loss, cost, budget=budget)
    spent = summed(cost, choice)
    assert spent <= budget
    for item, option in itertools.product(*map(range, loss.shape)):
        price = cost[item, option] - cost[item, choice[item]]
        better = loss[item, option] < loss[item, choice[item]]
        assert not (better and price >= 0 and spent + price <= budget)


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_equal_prices_are_solved_exactly(solve):
    rng = np.random.default_rng(0)
    loss = np.stack([rng.random(30), np.zeros(30)], axis=1)
    cost = np.tile([0.0, 1.0], (30, 1))
    choice = solve(loss, cost, budget=12.0)
    assert set(np.flatnonzero(choice)) == set(np.argsort(loss[:, 0])[-12:])


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_bad_input_is_named(solve):
    with pytest.raises(ValueError, match="budget must be at least 3"):
        solve([[0.0, 1.0]], [[4.0, 3.0]], budget=2.0)
    with pytest.raises(ValueError, match="one shape"):
        solve([0.0], [0.0], budget=1.0)
    with pytest.raises(ValueError, match=r"cost must be >= 0, got -1\.0 for option 1"):
        solve([[0.0, 0.0]], [[0.0, -1.0]], budget=1.0)
    with pytest.raises(ValueError, match=r"loss must be finite .*, got nan for option"):
        solve([[np.nan]], [[1.0]], budget=1.0)
    with pytest.raises(ValueError, match=r"of finite cost, got \[inf\] for item 1"):
        solve([[0.0], [0.0]], [[1.0], [np.inf]], budget=1.0)


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)
def test_an_option_that_is_not_there_is_not_taken(solve):
    loss, cost = [[3.0, 0.0], [3.0, -9.0]], [[0.0, 1.0], [0.0, np.inf]]
    assert solve(loss, cost, budget=5.0).tolist() == [1, 0]


def test_a_resolution_rounds_costs_up():
    rng = np.random.default_rng(0)
    loss, cost = rng.random((6, 5)), rng.random((6, 5))
    cost[:, 0] = 0.0
    choice = allocation.exact(loss, cost, budget=1.5, resolution=20_000)
    assert summed(cost, choice) <= 1.5
    assert summed(loss, choice) == pytest.approx(_best(loss, cost, 1.5))
    with pytest.raises(ValueError, match="cost must hold integers"):
        allocation.exact(loss, cost, budget=1.5)
    with pytest.raises(ValueError, match="resolution must be an integer >= 1"):
        allocation.exact(loss, cost, budget=1.5, resolution=0)


@pytest.mark.parametrize(
    ("cost", "budget", "resolution"),
    [
        (3.0, 0.0, 10),  # nothing may be spent
        (3.0, 5e-324, 10),  # a unit of the budget is 0
        (1 + 5e-10, 1.0, 1),
        (0.3, 0.3 - 1e-13, 3),
    ],
)
def test_a_resolution_takes_no_more_than_the_budget(cost, budget, resolution):
    def solve(budget, resolution):
        table = [[0.0, cost]]
        return allocation.exact(
            [[1.0, 0.0]], table, budget=budget, resolution=resolution
        ).tolist()

    for levels in (resolution, np.int64(resolution)):
        assert (solve(budget, levels), solve(cost, levels)) == ([0], [1])


def test_integer_costs_may_be_larger_than_int64():
    loss, cost = [[1.0, 0.0], [2.0, 0.0]], [[0.0, 3e30], [0.0, 2e30]]
    with pytest.raises(ValueError, match=r"levels for 2 items is too fine: give"):
        allocation.exact(loss, cost, budget=np.inf)
    choice = allocation.exact(loss, cost, budget=np.inf, resolution=100)
    assert choice.tolist() == [1, 1]
    huge = [[0.0, 2.0**100], [0.0, 2.0**99]]
    assert allocation.exact(loss, huge, budget=2.0**100).tolist() == [0, 1]


def test_the_resolution_that_is_advised_is_taken(monkeypatch):
    monkeypatch.setattr(dynamic_programming, "MOST", 100)
    loss, cost = [[1.0, 0.0]] * 3, [[0.0, 1.0]] * 3
    with pytest.raises(ValueError, match="give a resolution of at most 32"):
        allocation.exact(loss, cost, budget=2.0, resolution=33)
    choice = allocation.exact(loss, cost, budget=2.0, resolution=32)
    assert summed(np.array(cost), choice) == 2


@pytest.mark.parametrize(
    ("loss", "cost"), [(1.0, 1e-323), (1e300, 1e-20), (1e10, 1e-300)]
)
def test_a_price_beyond_all_floats_is_infinite(loss, cost):
    """The loss of one option for its cost overflows."""
    losses, costs = [[0.0, loss], [1.0, 0.0]], [[cost, 0.0], [0.0, cost / 2]]
    found = allocation.lagrangian(losses, costs, budget=0.0)
    assert (found.choice.tolist(), found.gap, found.price) == ([1, 0], 0.0, np.inf)
    found = allocation.lagrangian(losses, costs, budget=cost / 2)
    assert (found.choice.tolist(), found.gap) == ([1, 1], loss)


@given(problems())
@settings(max_examples=80)
def test_a_budget_is_met_within_one_option(problem):
    loss, cost, budget = problem
    choice = allocation.lagrangian(loss, cost, budget=budget).choice
    left = budget - summed(cost, choice)
    assert left >= 0
    for item, option in itertools.product(*map(range, loss.shape)):
        if loss[item, option] < loss[item, choice[item]]:
            assert cost[item, option] - cost[item, choice[item]] > left


def test_equal_items_share_a_budget():
    loss, cost = np.tile([1.0, 0.0], (8, 1)), np.tile([0.0, 1.0], (8, 1))
    found = allocation.lagrangian(loss, cost, budget=5.0)
    assert (summed(cost, found.choice), found.gap) == (5.0, 0.0)


@given(problems())
@settings(max_examples=40)
def test_a_front_is_the_best_choice_at_the_costs_of_the_hull(problem):
    loss, cost, _ = problem
    whole = allocation.combined(list(loss), list(cost))
    found = allocation.front(loss, cost, budgets=whole.cost)
    np.testing.assert_allclose(found.loss, whole.loss, atol=1e-9)
    np.testing.assert_allclose(found.gap, 0, atol=1e-6)
    for budget, lost, choice in zip(whole.cost, whole.loss, whole.choices, strict=True):
        assert lost == _best(loss, cost, budget)
        assert (summed(loss, choice), summed(cost, choice)) == (lost, budget)


@given(problems())
@settings(max_examples=40)
def test_a_front_has_the_choices_of_single_budgets(problem):
    loss, cost, budget = problem
    budgets = [budget, budget + 3, budget + 100]
    found = allocation.front(loss, cost, budgets=budgets)
    for row, limit in enumerate(budgets):
        one = allocation.lagrangian(loss, cost, budget=limit)
        assert found.choice[row].tolist() == one.choice.tolist()
        assert (found.gap[row], found.price[row]) == (one.gap, one.price)
        assert found.cost[row] == summed(cost, one.choice) <= limit
        assert found.loss[row] == summed(loss, one.choice)


def test_bad_fronts_and_sums_are_named():
    with pytest.raises(
        ValueError, match=r"budgets must have one axis .* got the shape"
    ):
        allocation.front([[1.0]], [[1.0]], budgets=3.0)
    with pytest.raises(ValueError, match="budget must be at least 1"):
        allocation.front([[1.0]], [[1.0]], budgets=[2.0, 0.5])
    with pytest.raises(ValueError, match="budget must be at least 1"):
        allocation.front([[1.0]], [[1.0]], budgets=[np.nan, 2.0])
    with pytest.raises(ValueError, match=r"of the same items, .* got 0 and 1"):
        allocation.combined([], [[1.0]])


def test_items_may_be_the_rows_of_an_array():
    loss, cost = np.array([[5.0, 0.0], [4.0, 0.0]]), np.array([[0.0, 3.0], [0.0, 2.0]])
    assert allocation.combined(loss, cost).loss.tolist() == [9.0, 5.0, 0.0]
