"""Solvers of the allocation problem against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import allocation
from dst_jax.allocation.problem import summed

SOLVERS = {
    "exact": allocation.exact,
    "greedy": allocation.greedy,
    "lagrangian": lambda *args, **kw: allocation.lagrangian(*args, **kw).choice,
}


@st.composite
def problems(draw):
    items, options = draw(st.integers(1, 4)), draw(st.integers(1, 4))
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
    choices = itertools.product(range(loss.shape[1]), repeat=len(loss))
    found = [np.array(c) for c in choices if summed(cost, np.array(c)) <= budget]
    return min(summed(loss, choice) for choice in found)


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
    with pytest.raises(ValueError, match="cost must be >= 0"):
        solve([[0.0]], [[-1.0]], budget=1.0)
    with pytest.raises(ValueError, match="loss must be finite"):
        solve([[np.nan]], [[1.0]], budget=1.0)
    with pytest.raises(ValueError, match="an option of finite"):
        solve([[0.0]], [[np.inf]], budget=1.0)


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
