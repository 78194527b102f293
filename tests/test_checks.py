"""Refusals name the argument, the value and what is allowed."""

import math
import textwrap

import jax
import jax.numpy as jnp
import pytest

from dst_jax import checks


def test_a_traced_value_passes_every_range():
    @jax.jit
    def check(x):
        checks.fraction("x", x)
        checks.share("x", x)
        checks.at_least("x", x, 1)
        checks.at_least("x", 0, x)
        return x

    assert check(-7.0) == -7


def test_a_constant_array_is_checked_in_a_traced_function_too():
    """JAX would trace its comparison."""
    half, minus_one = jnp.float32(0.5), jnp.float32(-1)

    @jax.jit
    def check(x):
        checks.fraction("x", half)
        checks.share("x", half)
        checks.at_least("x", 1, half)
        checks.at_least("x", half, half)
        checks.positive("x", half)
        return x

    assert check(1.0) == 1
    with pytest.raises(ValueError, match=r"x must be in \[0, 1\), got -1"):
        jax.jit(lambda: checks.fraction("x", minus_one))()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.fraction("x", math.nan), r"x must be in \[0, 1\), got nan"),
        (lambda: checks.share("x", 1.5), r"x must be in \[0, 1\], got 1.5"),
        (lambda: checks.at_least("x", math.inf, 0), "x must be a finite number >= 0"),
        (lambda: checks.one_of("x", "b", ["a"]), r"x must be one of \('a',\), got 'b'"),
        (lambda: checks.lookup("x", "rigel", {"rigl": 1}), "did you mean 'rigl'"),
        (lambda: checks.lookup("x", "y:z", {}), "x 'y:z': there is no module y"),
        (lambda: checks.resolve("math"), "name must be module:attribute, got 'math'"),
        (lambda: checks.resolve("math:"), "name must be module:attribute, got 'math:'"),
        (lambda: checks.resolve(":pi"), "name must be module:attribute, got ':pi'"),
        (lambda: checks.resolve("a b:pi"), "name must be module:attribute"),
        (lambda: checks.resolve("os.pathh:join"), "there is no module os.pathh"),
        (lambda: checks.resolve("os:path.joyn"), "path has no attribute 'joyn'; did"),
    ],
)
def test_what_is_not_allowed_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_name_of_the_family_comes_before_a_module():
    assert checks.lookup("x", "2:4", {"2:4": "ours"}) == "ours"
    assert checks.resolve("os:path.join")("a", "b") == "a/b"


def test_an_error_inside_the_module_is_its_own(tmp_path, monkeypatch):
    source = "import a_module_that_is_missing\n"
    (tmp_path / "broken_from_outside.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
        checks.resolve("broken_from_outside:member")
