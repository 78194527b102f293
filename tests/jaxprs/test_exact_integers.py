"""T12: limb arithmetic against the integers of Python, at the extremes too."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dst_jax.cost import Count
from dst_jax.jaxprs.exact_integers import CHUNK, sum_products

UINT32 = st.integers(0, 2**32 - 1)


@given(st.integers(0, 2**72 - 1))
@example(2**72 - 1)
def test_a_count_is_its_integer(n):
    count = Count.of(n)
    assert int(count) == operator.index(count) == n
    assert repr(count) == f"Count({n})"
    assert int(jax.device_get(count)) == n


@settings(deadline=None)
@given(st.integers(0, 2**71 - 1), st.integers(0, 2**71 - 1))
@example(2**71 - 1, 2**71 - 1)
@example(2**60 - 1, 1)
def test_addition_carries(a, b):
    assert int(Count.of(a) + Count.of(b)) == a + b
    assert int(sum([Count.of(a), Count.of(b)])) == a + b
    assert int(Count.of(a) + b) == int(a + Count.of(b)) == a + b


@pytest.mark.parametrize("value", [-1, 2**72])
def test_a_count_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=rf"value.*2\^72.*{value}"):
        Count.of(value)


def test_only_counts_and_integers_add():
    with pytest.raises(TypeError):
        Count.of(1) + "1"


def test_counts_pass_through_jit_and_vmap():
    add = jax.jit(lambda a, b: a + b)
    assert int(add(Count.of(2**40), Count.of(2**40))) == 2**41
    counts = [Count.of(n) for n in (4095, 2**50)]
    batch = jax.tree.map(lambda *limbs: jnp.stack(limbs), *counts)
    doubled = jax.vmap(lambda count: count + count)(batch)
    assert doubled.tolist() == [2 * 4095, 2**51]
    assert doubled.shape == (2,)
    # A count is added to every element.
    assert (batch + Count.of(1)).tolist() == [4096, 2**50 + 1]
    assert sum([batch, batch]).tolist() == doubled.tolist()


def test_many_counts_are_no_integer():
    many = Count(np.zeros((2, 6), np.uint32))
    with pytest.raises(TypeError, match=r"shape \(2,\) is not one integer: use tolist"):
        int(many)
    assert repr(many) == "Count([0, 0])"
    assert Count(np.zeros((0, 6), np.uint32)).tolist() == []


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 2**72 - 1), min_size=3, max_size=3))
@example([0, 2**72 - 1, 1])
def test_lists_are_the_integers(numbers):
    counts = [Count.of(n) for n in numbers]
    batch = jax.tree.map(lambda *limbs: np.stack(limbs), *counts)
    assert batch.tolist() == numbers
    assert counts[0].tolist() == numbers[0]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 2**31 - 1), min_size=6, max_size=6))
@example([2**31 - 1] * 5 + [0])
def test_carrying_keeps_the_integer(limbs):
    expected = sum(n << 12 * i for i, n in enumerate(limbs)) % 2**72
    assert int(Count(np.array(limbs, np.uint32)).carried()) == expected


def test_a_traced_count_can_be_printed():
    seen = []
    jax.jit(lambda count: seen.append(repr(count)) or count)(Count.of(1))
    assert seen[0].startswith("Count(")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(UINT32, UINT32), min_size=8, max_size=8))
@example([(2**32 - 1, 2**32 - 1)] * 8)
def test_products_are_those_of_python(pairs):
    a, b = zip(*pairs, strict=True)
    limbs = sum_products(
        jnp.array(a, jnp.uint32), jnp.array(b, jnp.uint32), max_a=max(a), max_b=max(b)
    )
    assert int(Count(limbs)) == sum(x * y for x, y in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
@pytest.mark.parametrize("largest", [1, 4095, 4096, 2**27 - 1])
def test_sums_of_the_largest_products_are_exact(n, largest):
    x = jnp.full((2, n), largest, jnp.uint32)
    limbs = sum_products(x, x, max_a=largest, max_b=largest)
    assert limbs.dtype == np.uint32
    assert [int(Count(row)) for row in limbs] == [n * largest**2] * 2
