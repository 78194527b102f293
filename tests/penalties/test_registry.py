from functools import partial

import chex
import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from dst_jax import penalties
from dst_jax.penalties._numerics import check
from dst_jax.typing import Penalty


@pytest.mark.parametrize("name", penalties.names())
def test_get_is_the_function_of_that_name(name):
    assert penalties.get(name) is getattr(penalties, name)
    options = penalties.options(name)
    penalty = penalties.get(name, **options)
    assert isinstance(penalty, Penalty)
    if options:
        assert isinstance(penalty, partial)
        assert penalty.func is getattr(penalties, name)
        assert penalty.keywords == options


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"one of \('l0', 'l1', .*\), got 'l3'"):
        penalties.get("l3")


def test_an_unknown_option_lists_the_known():
    with pytest.raises(
        ValueError, match=r"mcp has no option \['a'\]; it takes \['lam'"
    ):
        penalties.get("mcp", a=2.0)
    with pytest.raises(ValueError, match=r"l1 has no option \['axis'\]; it takes \[\]"):
        penalties.get("l1", axis=1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lp", {"p": 1.5}, r"p must be a finite number in \(0, 1\], got 1.5"),
        ("lp", {"eps": 0.0}, "eps must be a finite number > 0, got 0.0"),
        ("scad", {"a": 2.0}, "a must be a finite number > 2, got 2.0"),
        ("laplace", {"gamma": -1.0}, "gamma must be a finite number > 0"),
        ("capped_l1", {"theta": float("inf")}, "theta must be a finite number > 0"),
        ("group_lasso", {"group_axis": 9}, "axis must be axes of an array"),
    ],
)
def test_an_option_out_of_range_is_refused_at_once(name, options, message):
    for get in [penalties.get, penalties.get_prox]:
        if get is penalties.get or name != "lp":
            with pytest.raises(ValueError, match=message):
                get(name, **options)


def test_a_penalty_without_prox_lists_those_with_one():
    with pytest.raises(ValueError, match=r"hoyer_square has no closed-form prox.*'l1'"):
        penalties.get_prox("hoyer_square")


def test_something_else_than_a_number_is_named():
    with pytest.raises(TypeError, match="lam must be a number, got 'big'"):
        check("lam", "big", "> 0", lambda v: v > 0)


def test_every_option_may_be_traced():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def slopes(scale):
        x = jnp.array([0.5, -2.0])
        values = []
        for name in penalties.names():
            options = penalties.options(name)
            options.pop("group_axis", None)  # which axes: static
            traced = {option: scale * value for option, value in options.items()}
            values.append(jax.grad(penalties.get(name, **traced))(x))
        return jnp.stack(values)

    for scale in (1.0, 0.9):
        assert jnp.isfinite(slopes(scale)).all()


def test_derivatives_by_shape_parameters():
    x = jnp.array([0.05, -0.7, 1.7, 2.5, 0.0])
    cases = [
        ("lp", "p", 0.5),
        ("lp", "eps", 1e-3),
        ("geman", "gamma", 1.0),
        ("log_sum", "eps", 0.1),
        ("laplace", "gamma", 1.0),
        ("cauchy", "gamma", 1.0),
        ("mcp", "gamma", 3.0),
        ("scad", "a", 3.7),
        ("l1_minus_l2", "alpha", 0.8),
    ]

    @jax.jit
    def quotients_and_slopes():
        found = []
        for name, option, value in cases:

            def of(v, name=name, option=option):
                return getattr(penalties, name)(x, **{option: v})

            h = 1e-2 * value
            quotient = (of(value + h) - of(value - h)) / (2 * h)
            found.append([quotient, jax.grad(of)(value)])
        return found

    for case, (quotient, slope) in zip(cases, quotients_and_slopes(), strict=True):
        assert abs(quotient - slope) < 2e-2 * abs(slope), case


def test_cauchy_is_smooth_at_zero():
    grad = jax.grad(partial(penalties.cauchy, gamma=0.5))
    curvature = jax.jit(lambda x: jax.jvp(grad, (x,), (jnp.ones(1),))[1])(jnp.zeros(1))
    assert curvature == 2 / 0.5**2


@pytest.mark.parametrize("name", penalties.names())
def test_complex_arrays_are_refused(name, monkeypatch):
    # As users see it, without the types that tests check.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    x = jnp.array([[3 + 4j, 1j]])
    with pytest.raises(TypeError, match="x must be real, got complex64: take its abs"):
        penalties.get(name)(x)
    if not name.startswith("hoyer") and name != "lp":
        with pytest.raises(TypeError, match="y must be real, got complex64"):
            penalties.get_prox(name)(x, 0.5)
