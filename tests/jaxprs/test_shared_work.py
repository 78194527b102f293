"""`map_distinct` is `jax.lax.map`, whatever it computes only once."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from dst_jax.jaxprs import shared_work
from dst_jax.jaxprs.distinct_rows import at_distinct, distinct_rows
from dst_jax.jaxprs.shared_work import map_distinct

NONZEROS = jnp.asarray(np.random.default_rng(0).integers(0, 50, (4, 30)))
SMALL = NONZEROS[0, :5]


def ceil_div(x, n):
    return (x + n - 1) // n


@jax.jit
def steps(lanes):
    return ceil_div(NONZEROS, lanes).sum(-1).max()


def shared(x):
    """Large arrays of `lanes` alone, a call that reads all; small arrays of the rest.

    `wide` is whole, too, but no large array reads it.
    """

    @jax.jit
    def inside(x):
        small = jnp.ceil(SMALL / x["rate"]).max() * x["wide"]
        return {"cycles": steps(x["lanes"]) / x["rate"], "small": small, "one": 1.0}

    return inside(x) | {"relu": jax.nn.relu(x["rate"] - 2), "lanes": x["lanes"]}


def in_turn(x):
    return {"cycles": (jnp.ceil(NONZEROS / x["rate"]) * x["lanes"]).sum() + x["wide"]}


def never(x):
    return {"cycles": x["lanes"] * x["rate"] + NONZEROS.sum() / x["wide"]}


@pytest.fixture
def found(monkeypatch):
    """The columns whose distinct rows were looked for; "map" where none were."""
    seen = []

    def rows(columns):
        seen.append(len(columns))
        return distinct_rows(columns)

    def mapped(fn, xs, *, batch_size):
        seen.append("map")
        return lax.map(fn, xs, batch_size=batch_size)

    monkeypatch.setattr(shared_work, "distinct_rows", rows)
    monkeypatch.setattr(shared_work, "lax", types.SimpleNamespace(map=mapped))
    return seen


def configurations(number):
    rng = np.random.default_rng(1)
    return {
        "lanes": jnp.asarray(rng.integers(1, 5, number)),
        "rate": jnp.asarray(rng.uniform(1, 4, number), jnp.float32),
        "wide": jnp.asarray(rng.integers(1, 9, number)),
    }


@pytest.mark.parametrize(
    ("fn", "how"), [(shared, [1]), (in_turn, ["map"]), (never, [])]
)
def test_it_is_a_map(fn, how, found):
    xs = configurations(23)
    result = map_distinct(fn, xs, batch_size=3)
    wanted = jax.vmap(fn)(xs)
    assert found == how
    assert jax.tree.structure(result) == jax.tree.structure(wanted)
    for name, x in result.items():
        assert x.dtype == wanted[name].dtype, name
        np.testing.assert_allclose(x, wanted[name], rtol=1e-6)


def test_what_is_not_shared(found):
    """No element at all, effects, numbers that are not whole, arrays as elements."""
    xs = configurations(4)
    assert map_distinct(shared, configurations(0), batch_size=3)["cycles"].shape == (0,)
    seen = []

    def told(x):
        jax.debug.callback(seen.append, x["rate"])
        return steps(x["lanes"])

    map_distinct(told, xs, batch_size=2)
    jax.effects_barrier()
    assert len(seen) == 4
    as_floats = xs | {"lanes": xs["lanes"].astype(jnp.float32)}
    map_distinct(shared, as_floats, batch_size=2)
    rows = jnp.arange(80).reshape(4, 20)
    sums = map_distinct(lambda x: x.sum(), rows, batch_size=2)
    np.testing.assert_array_equal(sums, rows.sum(1))
    assert found == ["map"] * 4


@pytest.mark.slow
def test_gradients_are_those_of_a_map(scan3_off):
    """Of what is mapped over, and of what large arrays read beside whole numbers."""
    xs = configurations(11)

    def price(rate, weight, mapped):
        def one(x):
            large = ceil_div(NONZEROS, x["lanes"]) * weight
            return (large.sum(-1).max() + weight) / x["rate"]

        return mapped(one, xs | {"rate": rate}, batch_size=2).sum()

    def vmapped(fn, xs, *, batch_size):
        return jax.vmap(fn)(xs)

    both = jax.jit(jax.grad(price, (0, 1)), static_argnums=2)
    mine, theirs = (both(xs["rate"], 1.5, fn) for fn in (map_distinct, vmapped))
    assert float(mine[1]) > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), mine, theirs)


def test_transformations(scan3_off):
    """Jitted and vmapped over many maps at once."""
    xs = jax.tree.map(lambda *x: jnp.stack(x), configurations(6), configurations(6))
    xs["lanes"] = xs["lanes"] * jnp.array([[1], [2]])
    many = jax.jit(jax.vmap(lambda x: map_distinct(shared, x, batch_size=4)))(xs)
    for name, wanted in jax.vmap(jax.vmap(shared))(xs).items():
        np.testing.assert_allclose(many[name], wanted, rtol=1e-6)


@jax.jit
def rows_of(columns):
    rows = distinct_rows(columns)
    return rows, at_distinct(
        lambda i: columns[0][i] * 7 - columns[1][i], rows, batch_size=2
    )


@given(
    st.lists(st.tuples(st.integers(-1, 1), st.integers(0, 2)), min_size=9, max_size=9)
)
def test_distinct_rows(rows):
    matrix = np.array(rows, np.int32)
    distinct, kind = np.unique(matrix, axis=0, return_inverse=True)
    found, values = rows_of([jnp.asarray(matrix[:, 0]), jnp.asarray(matrix[:, 1])])
    assert int(found.number) == len(distinct)
    np.testing.assert_array_equal(found.kind, kind.ravel())
    np.testing.assert_array_equal(matrix[found.first[: len(distinct)]], distinct)
    wanted = distinct[:, 0] * 7 - distinct[:, 1]
    np.testing.assert_array_equal(values[: len(distinct)], wanted)


@pytest.mark.slow
def test_rows_past_the_last_cost_nothing():
    """All kinds are computed, in batches, and no other batch."""
    calls = []

    def seen(i):
        jax.debug.callback(calls.append, i)
        return i

    rows = distinct_rows([jnp.arange(40) % 5])
    found = at_distinct(seen, rows, batch_size=2)
    jax.effects_barrier()
    assert found.shape == (40,)
    np.testing.assert_array_equal(found[:5], range(5))
    assert len(calls) == 6
