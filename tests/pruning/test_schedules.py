import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.pruning import schedules

QUARTERS = range(5)


def _at(schedule, steps):
    return [float(schedule(t)) for t in steps]


def test_vectors_of_the_specification():
    cubic = schedules.cubic(0.0, 0.5, end=4)
    assert _at(cubic, QUARTERS) == pytest.approx([0, 0.28906, 0.4375, 0.49219, 0.5],
                                                 abs=5e-6)  # fmt: skip
    soft = schedules.cosine(0.15, 0.1, end=4)
    assert _at(soft, QUARTERS) == pytest.approx([0.15, 0.14268, 0.125, 0.10732, 0.1],
                                                abs=5e-6)  # fmt: skip
    drop = schedules.cosine(0.5, 0.005, end=4)
    assert _at(drop, QUARTERS) == pytest.approx([0.5, 0.42751, 0.2525, 0.07749, 0.005],
                                                abs=5e-6)  # fmt: skip


def test_rigl_drop_fraction():
    schedule = schedules.decay("cosine", 0.3, end=75_000)
    for t in (0, 100, 25_000, 50_000, 74_900):
        exact = 0.3 / 2 * (1 + math.cos(math.pi * t / 75_000))
        assert float(schedule(t)) == pytest.approx(exact, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50), st.integers(1, 60), st.integers(0, 130))
@pytest.mark.parametrize("name", ["cubic", "cosine", "linear", "exponential"])
def test_ramps_equal_numpy(name, start, length, t):
    end, a, b = start + length, 0.2, 0.9
    p = min(max(t - start, 0), length) / length
    expected = {
        "cubic": b + (a - b) * (1 - p) ** 3,
        "cosine": b + (a - b) * (1 + math.cos(math.pi * p)) / 2,
        "linear": a + (b - a) * p,
        "exponential": 1 - (1 - a) ** (1 - p) * (1 - b) ** p,
    }[name]
    schedule = getattr(schedules, name)(a, b, start=start, end=end)
    assert float(schedule(t)) == pytest.approx(expected, abs=1e-6)
    if t >= end:
        assert schedule(t) == jnp.float32(b)  # to the bit


def test_a_ramp_of_no_length_is_a_step():
    assert _at(schedules.cubic(0.1, 0.8, start=5, end=5), [4, 5, 6]) == pytest.approx(
        [0.1, 0.8, 0.8]
    )


def test_cyclic_equals_its_description():
    # density d (1 + 2 f), f = 0, .5, 1, .5, 0 over a cycle; the second is twice as long
    schedule = schedules.cyclic(0.8, period=4, cycles=2, growth=2.0)
    found = _at(schedule, range(14))
    rise = [0.0, 0.5, 1.0, 0.5]
    waves = [(1 - math.cos(2 * math.pi * i / 8)) / 2 for i in range(8)]
    expected = [1 - 0.2 * (1 + 2 * f) for f in [*rise, *waves, 0, 0]]
    assert found == pytest.approx(expected, abs=1e-6)
    triangular = schedules.cyclic(0.8, period=8, cycles=1, wave="triangular")
    expected = [1 - 0.2 * (1 + 2 * f) for f in (0, 0.25, 0.5, 0.75, 1, 0.75)]
    assert _at(triangular, range(6)) == pytest.approx(expected, abs=1e-6)
    dense = schedules.cyclic(0.5, period=4, relaxation=10)
    assert float(dense(2)) == 0  # no density passes 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(0, 40), st.integers(0, 60), st.booleans())
def test_every_equals_a_loop(interval, start, length, at_end):
    end = start + length
    due = schedules.every(interval, start=start, end=end, at_end=at_end)
    expected = [
        (start <= t < end and (t - start) % interval == 0) or (at_end and t == end)
        for t in range(1, 120)
    ]
    assert np.asarray(jax.vmap(due)(jnp.arange(1, 120))).tolist() == expected


def test_hyperparameters_may_be_traced():
    @jax.jit
    def sparsity(final, end, t):
        return schedules.cubic(0.0, final, end=end)(t), schedules.every(end)(t)

    for end in (10, 20):
        value, due = sparsity(0.5, end, end)
        assert value == 0.5
        assert due
    assert sparsity._cache_size() == 1


def test_no_ramp_overshoots():
    for name in ("cubic", "cosine", "linear", "exponential"):
        found = _at(getattr(schedules, name)(0.0, 0.99, end=97), range(100))
        assert all(a <= b + 1e-7 for a, b in itertools.pairwise(found))
        assert min(found) >= 0
        assert max(found) == np.float32(0.99)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.every(0), "interval must be a finite number >= 1, got 0"),
        (lambda: schedules.every(5, start=9, end=3), "end must be .* >= 9, got 3"),
        (lambda: schedules.cubic(0.0, 0.5, end=-1), "end must be .* >= 0, got -1"),
        (lambda: schedules.decay("step", 0.3, end=9), "decay must be one of"),
        (lambda: schedules.decay("cosine", 1.3, end=9), r"drop_fraction must be in"),
        (lambda: schedules.exponential(0, 1.0, end=9), r"final must be in \[0, 1\)"),
        (lambda: schedules.cyclic(0.9, period=4, wave="square"), "wave"),
        (lambda: schedules.cyclic(0.9, period=4, relaxation=0.5), "relaxation must be"),
        (lambda: schedules.cyclic(0.9, period=4, growth=0), "growth must be > 0"),
        (lambda: schedules.cyclic(0.9, period=4, cycles=1.5), "cycles must be a whole"),
    ],
)  # fmt: skip
def test_bad_options_are_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
