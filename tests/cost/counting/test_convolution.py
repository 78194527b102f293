"""T1 and T2 for convolutions: brute force in NumPy over all products; XLA's count.

Independent checks. T11: the counts are ordered, and monotone in the masks.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from jax import lax

from dst_jax import cost
from dst_jax.cost.counting import tap_sums
from dst_jax.cost.counting.convolution import elements_read

QUICK = {"xla_backend_optimization_level": 0}
# Twenty cases that fail together need no smaller example: the message has the one.
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]


def brute_force(lhs: np.ndarray, rhs: np.ndarray, options: dict[str, Any]):
    """Every product of a convolution, one by one: (dense, valid, by_*, effectual)."""
    out = jax.eval_shape(
        lambda a, w: lax.conv_general_dilated(a, w, **options),
        *(jnp.asarray(lhs), jnp.asarray(rhs)),
    )
    dims = options["dimension_numbers"]
    out_shape = [out.shape[i] for i in dims.out_spec]
    a, w = (lhs.transpose(dims.lhs_spec) != 0), (rhs.transpose(dims.rhs_spec) != 0)
    features, batches = options["feature_group_count"], options["batch_group_count"]
    filters_per_group = w.shape[0] // (features * batches)
    counts = np.zeros(5, int)
    for image, filter_, *y in np.ndindex(*out_shape):
        group = filter_ // filters_per_group
        n = image + (group * out_shape[0] if batches > 1 else 0)
        first = group * w.shape[1] if features > 1 else 0
        for tap in np.ndindex(*w.shape[2:]):
            counts[0] += w.shape[1]
            element = element_at(y, tap, a.shape[2:], options)
            if element is None:
                continue
            active = a[(n, slice(first, first + w.shape[1]), *element)]
            weight = w[(filter_, slice(None), *tap)]
            both = active & weight
            counts[1:] += [len(weight), active.sum(), weight.sum(), both.sum()]
    return tuple(counts.tolist())


def element_at(y, tap, sizes, options) -> tuple[int, ...] | None:
    element = []
    for i, size in enumerate(sizes):
        padded = y[i] * options["window_strides"][i]
        padded += tap[i] * options["rhs_dilation"][i]
        dilated = padded - options["padding"][i][0]
        index, inserted = divmod(dilated, options["lhs_dilation"][i])
        if inserted or not 0 <= index < size:
            return None
        element.append(index)
    return tuple(element)


def ints(op: cost.OpCounts) -> tuple[int, ...]:
    return tuple(int(n) for n in op)


def count_conv(lhs, rhs, options) -> tuple[int, ...]:
    counts = counter(tuple(options.items()))(jnp.asarray(rhs), jnp.asarray(lhs))
    return ints(counts["conv_general_dilated"])


@functools.cache
def counter(options: tuple[tuple[str, Any], ...]):
    def conv(w, x):
        return lax.conv_general_dilated(x, w, **dict(options))

    return jax.jit(cost.count(conv), compiler_options=QUICK)


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-1, 2, shape).astype(np.float32)


def conv_case(
    rank: int = 2,
    *,
    size: int = 5,
    window: int = 3,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    lhs_dilation: int = 1,
    rhs_dilation: int = 1,
    features: int = 1,
    batches: int = 1,
    specs: tuple[tuple[int, ...], ...] | None = None,
    seed: int = 0,
):
    """Operands and options; `specs` permute the axes of lhs, rhs and output."""
    lhs_spec, rhs_spec, out_spec = specs or (tuple(range(rank + 2)),) * 3
    rng = np.random.default_rng(seed)
    # Sizes differ along the axes, so that a mix-up of axes shows.
    spatial = [size + i for i in range(rank)]
    lhs = sparse(rng, (2 * batches, 3 * features, *spatial))
    rhs = sparse(rng, (2 * features * batches, 3, *[window] * rank))
    options = {
        "window_strides": (stride,) * rank,
        "padding": (padding,) * rank,
        "lhs_dilation": (lhs_dilation,) * rank,
        "rhs_dilation": (rhs_dilation,) * rank,
        "feature_group_count": features,
        "batch_group_count": batches,
        "dimension_numbers": lax.ConvDimensionNumbers(lhs_spec, rhs_spec, out_spec),
    }
    return (
        lhs.transpose(np.argsort(lhs_spec)),
        rhs.transpose(np.argsort(rhs_spec)),
        options,
    )


CASES = {
    "plain": {},
    "stride": {"stride": 2, "padding": (1, 1)},
    "asymmetric": {"padding": (0, 2), "stride": 2},
    "crop": {"padding": (-1, -1)},
    "crop-and-pad": {"padding": (-1, 2), "lhs_dilation": 2},
    "rhs-dilation": {"rhs_dilation": 2, "padding": (2, 1)},
    "transposed": {"lhs_dilation": 2, "padding": (2, 2)},
    "all-steps": {
        "size": 4, "stride": 3, "lhs_dilation": 2, "rhs_dilation": 2,
        "padding": (3, 2),
    },
    "groups": {"features": 2, "padding": (1, 1)},
    "batch-groups": {"batches": 2, "stride": 2, "padding": (1, 0)},
    "nhwc": {"specs": ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)), "padding": (1, 1)},
    "permuted": {"specs": ((2, 0, 3, 1), (1, 3, 2, 0), (3, 1, 0, 2)), "features": 2},
    "permuted-batch-groups": {
        "specs": ((2, 1, 3, 0), (2, 0, 1, 3), (1, 3, 0, 2)), "batches": 2,
    },
    "no-spatial-axis": {"rank": 0},
    "1d": {"rank": 1, "stride": 2, "padding": (1, 2)},
    "3d": {"rank": 3, "size": 3, "window": 2, "padding": (1, 0), "features": 2},
    "window-past-the-input": {"size": 1, "padding": (4, 4), "window": 3, "stride": 4},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_a_loop(name):
    lhs, rhs, options = conv_case(**CASES[name])
    assert count_conv(lhs, rhs, options) == brute_force(lhs, rhs, options)


@pytest.mark.parametrize("name", ["all-steps", "permuted-batch-groups", "3d"])
def test_tiles_of_an_image_add_up(name, monkeypatch):
    """Six, seven or eight rows in tiles of one or two, of which the last overlaps."""
    case = CASES[name] | {"size": 5 if name == "3d" else 7, "seed": 1}
    lhs, rhs, options = conv_case(**case)
    monkeypatch.setattr(tap_sums, "LARGEST_TILE", 60 if name == "3d" else 70)
    traced = counter(tuple(options.items())).lower(jnp.asarray(rhs), jnp.asarray(lhs))
    assert "while" in traced.as_text()
    assert count_conv(lhs, rhs, options) == brute_force(lhs, rhs, options)


def test_a_large_image_is_not_held_as_integers():
    """16,384 pixels square: 1 GiB in float32, and at most half of that beside it."""
    x, w = (
        jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in ((1, 1, 2**14, 2**14), (1, 1, 3, 3))
    )

    def convolve(w, x):
        return lax.conv(x, w, (2**13, 2**13), "SAME")

    compiled = jax.jit(cost.count(convolve)).lower(w, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2**29


@st.composite
def random_conv(draw):
    rank = draw(st.integers(1, 3))
    axes = st.permutations(range(rank + 2)).map(tuple)
    features, batches = draw(st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]))
    lhs, rhs, options = conv_case(
        rank,
        size=draw(st.integers(1, 5 - rank)),
        window=draw(st.integers(1, 3 if rank < 3 else 2)),
        features=features,
        batches=batches,
        specs=(draw(axes), draw(axes), draw(axes)),
        seed=draw(st.integers(0, 99)),
    )
    for option, values in {
        "window_strides": st.integers(1, 3),
        "lhs_dilation": st.integers(1, 3),
        "rhs_dilation": st.integers(1, 2),
        "padding": st.tuples(st.integers(-1, 3), st.integers(-1, 3)),
    }.items():
        options[option] = tuple(draw(st.tuples(*[values] * rank)))
    try:
        jax.eval_shape(lambda a, w: lax.conv_general_dilated(a, w, **options), lhs, rhs)
    except (TypeError, ValueError):  # cropped to nothing
        options["padding"] = ((1, 3),) * rank
    return lhs, rhs, options


@pytest.mark.slow
@settings(max_examples=10, deadline=None, phases=NO_SHRINKING)
@given(cases=st.lists(random_conv(), min_size=20, max_size=20))
def test_two_hundred_random_convolutions_match_a_loop(cases):
    """Twenty at a time: one compilation, which drops the convolutions themselves."""

    def convolutions(ws, xs):
        return [
            lax.conv_general_dilated(x, w, **options)
            for w, x, (_, _, options) in zip(ws, xs, cases, strict=True)
        ]

    lhs, rhs = ([case[i] for case in cases] for i in (0, 1))
    counts = jax.jit(cost.count(convolutions), compiler_options=QUICK)(rhs, lhs)
    for case, op in zip(cases, counts.values(), strict=True):
        assert ints(op) == brute_force(*case), case[2]


@settings(deadline=None, max_examples=300)
@given(
    tap=st.integers(0, 4),
    size=st.integers(0, 7),
    out_size=st.integers(0, 8),
    stride=st.integers(1, 7),
    pad_low=st.integers(-4, 6),
    lhs_dilation=st.integers(1, 6),
    rhs_dilation=st.integers(1, 4),
)
@example(tap=0, size=7, out_size=8, stride=4, pad_low=0, lhs_dilation=6, rhs_dilation=1)
def test_elements_read_are_those_of_the_dilated_padded_line(
    tap, size, out_size, stride, pad_low, lhs_dilation, rhs_dilation
):
    line = {i * lhs_dilation: i for i in range(size)}
    positions = [y * stride + tap * rhs_dilation - pad_low for y in range(out_size)]
    expected = [line[p] for p in positions if p in line]
    read = elements_read(
        tap,
        size=size,
        out_size=out_size,
        stride=stride,
        pad_low=pad_low,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
    )
    assert list(read) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_valid_is_what_xla_counts(name):
    lhs, rhs, options = conv_case(**CASES[name])
    lhs, rhs = jnp.ones_like(lhs), jnp.ones_like(rhs)
    conv = jax.jit(lambda a, w: lax.conv_general_dilated(a, w, **options))
    analysis = conv.lower(lhs, rhs).cost_analysis()
    counts = count_conv(lhs, rhs, options)
    assert 2 * counts[1] == analysis["flops"]
    assert counts[1:] == (counts[1],) * 4


def test_multiplications_of_the_imagenet_stem():
    options = conv_case()[2] | {"window_strides": (2, 2), "padding": ((3, 3), (3, 3))}
    image, kernel = jnp.ones((1, 3, 224, 224)), jnp.ones((64, 3, 7, 7))
    dense, valid, *_ = count_conv(image, kernel, options)
    assert dense == 112 * 112 * 64 * 3 * 7 * 7
    # Along one axis the taps read 110, 111, 111, 112, 112, 111, 111 elements.
    assert valid == 64 * 3 * 778**2


def test_integer_and_low_precision_operands_count_alike():
    lhs, rhs, options = conv_case(padding=(1, 1))
    expected = count_conv(lhs, rhs, options)
    for dtype in (jnp.bfloat16, jnp.float16, jnp.int8, jnp.int32):
        cast = jnp.asarray(lhs, dtype), jnp.asarray(rhs, dtype)
        assert count_conv(*cast, options) == expected


def test_nan_is_nonzero_and_negative_zero_is_zero():
    lhs, rhs, options = conv_case(rank=0)
    lhs, rhs = np.full_like(lhs, np.nan), np.full_like(rhs, -0.0)
    *_, valid, by_activation, by_weight, effectual = count_conv(lhs, rhs, options)
    assert (by_activation, by_weight, effectual) == (valid, 0, 0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_counts_are_ordered_and_monotone(seed):
    lhs, rhs, options = conv_case(stride=2, padding=(1, 1), seed=seed)
    rng = np.random.default_rng(seed)
    fewer = count_conv(lhs * rng.integers(0, 2, lhs.shape), rhs, options)
    more = count_conv(lhs, rhs, options)
    for dense, valid, by_activation, by_weight, effectual in (fewer, more):
        assert effectual <= min(by_activation, by_weight)
        assert max(by_activation, by_weight) <= valid <= dense
    assert all(a <= b for a, b in zip(fewer, more, strict=True))


def test_an_axis_too_long_for_the_counters_is_refused():
    options = conv_case(rank=0)[2]
    lhs = jax.ShapeDtypeStruct((2**32, 1), jnp.int8)
    rhs = jax.ShapeDtypeStruct((1, 1), jnp.int8)
    with pytest.raises(ValueError, match=r"2\^32 - 1.*smaller batches"):
        jax.eval_shape(
            cost.count(lambda w, x: lax.conv_general_dilated(x, w, **options)), rhs, lhs
        )
