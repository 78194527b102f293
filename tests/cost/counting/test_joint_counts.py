"""Counts of many operations added up together, against Python integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost
from dst_jax.cost.counting import joint_counts
from dst_jax.cost.counting.factors import Factors
from dst_jax.cost.counting.joint_counts import Met, op_counts
from dst_jax.cost.counting.segment_products import Segments, segment_products
from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.short_sums import short_sum

# Shapes (tap, group, channel): below a block, a block, several, none.
SHAPES = [(9, 1, 3), (1, 1, 64), (4, 5, 13), (0, 1, 2), (1, 0, 4), (3, 1, 200)]


def factors_of(
    shape: tuple[int, ...], rng: np.random.Generator, most: int, dtype: type
) -> tuple[Factors, np.ndarray, np.ndarray]:
    full = [int(n) for n in rng.integers(0, most, shape[0], endpoint=True)]
    bounds = np.array(full, np.uint64).reshape(-1, 1, 1)
    lhs = rng.integers(0, bounds, shape, np.uint64, endpoint=True)
    rhs = rng.integers(0, most, shape, np.uint64, endpoint=True)
    arrays = jnp.asarray(lhs.astype(dtype)), jnp.asarray(rhs.astype(np.uint32))
    return Factors(*arrays, tuple(full), most, 7), lhs, rhs


@pytest.mark.parametrize(
    ("most", "dtype"), [(2**24, np.float32), (2**31 - 1, np.uint32)]
)
@pytest.mark.slow
@pytest.mark.parametrize("longest", [2**16, 64], ids=["together", "some alone"])
def test_products_are_those_of_python(most, dtype, longest, monkeypatch):
    monkeypatch.setattr(joint_counts, "LONGEST", longest)
    rng = np.random.default_rng(0)
    made = [factors_of(shape, rng, most, dtype) for shape in SHAPES]
    # The first is of the other dtype: it is converted apart from the others.
    other = {np.float32: np.uint32, np.uint32: np.float32}[dtype]
    made.append(factors_of((2, 1, 5), rng, 1000, other))
    found = op_counts([Met(factors, Role.DATA, Role.WEIGHT) for factors, *_ in made])
    for counts, (factors, lhs, rhs) in zip(found, made, strict=True):
        a, b = lhs.astype(object), rhs.astype(object)
        ones = np.ones(lhs.shape, object)
        full = ones * np.array(factors.lhs_full, object).reshape(-1, 1, 1)
        assert int(counts.effectual) == (a * b).sum()
        assert int(counts.by_activation) == a.sum() * factors.rhs_full
        assert int(counts.by_weight) == (full * b).sum()
        assert int(counts.valid) == full.sum() * factors.rhs_full
        assert int(counts.dense) == 7


def test_a_long_segment_beside_short_ones():
    sizes = (2**16, 1, 63)
    segments = Segments(sizes)
    rng = np.random.default_rng(1)
    vectors = [rng.integers(0, 2**20, size, np.uint32) for size in sizes]
    joined = segments.join([jnp.asarray(vector) for vector in vectors])[None]
    ones = segments.spread([[2**32 - 1]] * 3)[None]
    limbs = segment_products(
        joined, jnp.asarray(ones), segments, max_a=2**32 - 1, max_b=2**32 - 1
    )
    wanted = [sum(map(int, vector)) * (2**32 - 1) for vector in vectors]
    assert Count(limbs).tolist() == [wanted]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 37, 64, 74, 1000])
def test_short_sums_are_sums(size):
    x = np.arange(3 * size * 2, dtype=np.uint32).reshape(3, size, 2)
    assert short_sum(jnp.asarray(x), [1]).tolist() == x.sum(1).tolist()
    assert short_sum(jnp.asarray(x), [0, 1]).tolist() == x.sum((0, 1)).tolist()


def test_a_layer_adds_few_lines_to_the_program():
    """What XLA compiles for counts is one program for all layers, not one for each."""

    def lines(layers: int) -> int:
        kernels = [jax.ShapeDtypeStruct((3, 3, 8, 8), jnp.float32)] * layers
        x = jax.ShapeDtypeStruct((2, 8, 8, 8), jnp.float32)

        def network(kernels, x):
            for kernel in kernels:
                x = jax.lax.conv_general_dilated(
                    x,
                    kernel,
                    (1, 1),
                    "SAME",
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
            return x

        lowered = jax.jit(cost.count(network)).lower(kernels, x)
        return len(lowered.as_text().splitlines())

    assert (lines(8) - lines(4)) / 4 < 80
