"""Storage formats against encoders that really encode, and decode again.

The round trips and SCALE-Sim's formulas are independent checks.
"""

import functools
import itertools
import math
from inspect import unwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.storage import formats
from dst_jax.cost.storage.format_table import FORMATS, storage, table

VALUE = 16


class Stream:
    """Fields of given widths, written one after the other and read back."""

    def __init__(self):
        self.fields: list[tuple[int, int]] = []

    def write(self, value: int, bits: int) -> None:
        assert 0 <= value < 1 << bits or value == bits == 0
        self.fields.append((value, bits))

    def __len__(self) -> int:
        return sum(bits for _, bits in self.fields)

    def __iter__(self):
        return iter(value for value, _ in self.fields)


def width(values: int) -> int:
    return math.ceil(math.log2(values)) if values > 1 else 0


def encode_bitmask(x, out):
    for value in x.ravel():
        out.write(int(value != 0), 1)
    for value in x[x != 0]:
        out.write(int(value), VALUE)


def decode_bitmask(shape, fields):
    flags = [next(fields) for _ in range(math.prod(shape))]
    return np.reshape([next(fields) if flag else 0 for flag in flags], shape)


def encode_zvc(x, out):
    for start in range(0, x.size, 32):
        block = x.ravel()[start : start + 32]
        encode_bitmask(np.pad(block, (0, 32 - block.size)), out)


def decode_zvc(shape, fields):
    n = math.prod(shape)
    blocks = [decode_bitmask((32,), fields) for _ in range(0, n, 32)]
    return np.concatenate([*blocks, np.zeros(0, int)])[:n].reshape(shape)


def encode_two_level(x, out):
    tiles = np.pad(x.ravel(), (0, -x.size % 4)).reshape(-1, 4)
    for tile in tiles:
        out.write(int(tile.any()), 1)
    for tile in tiles:
        if tile.any():
            encode_bitmask(tile, out)


def decode_two_level(shape, fields):
    n = math.prod(shape)
    occupied = [next(fields) for _ in range(-(-n // 4))]
    empty = np.zeros(4, int)
    tiles = [decode_bitmask((4,), fields) if flag else empty for flag in occupied]
    return np.concatenate([*tiles, np.zeros(0, int)])[:n].reshape(shape)


def encode_coo(x, out):
    for index in np.argwhere(x):
        for i, size in zip(index, x.shape, strict=True):
            out.write(int(i), width(size))
        out.write(int(x[tuple(index)]), VALUE)


def decode_coo(shape, fields):
    x = np.zeros(shape, int)
    for first in fields:
        rest = [next(fields) for _ in range(len(shape) - 1)]
        x[(first, *rest)] = next(fields)
    return x


def encode_csr(x, out):
    matrix = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    starts = np.cumsum([0, *np.count_nonzero(matrix, 1)])
    for start in starts:
        out.write(int(start), width(x.size + 1))
    for row, column in np.argwhere(matrix):
        out.write(int(column), width(matrix.shape[1]))
        out.write(int(matrix[row, column]), VALUE)


def decode_csr(shape, fields):
    matrix = np.zeros((math.prod(shape[:-1]), shape[-1]), int)
    starts = [next(fields) for _ in range(len(matrix) + 1)]
    for row, entries in enumerate(np.diff(starts)):
        for _ in range(entries):
            column = next(fields)
            matrix[row, column] = next(fields)
    return matrix.reshape(shape)


def run_length_entries(line, run_bits):
    run = 0
    stop = np.flatnonzero(line)[-1] + 1 if line.any() else 0
    for value in line[:stop]:
        if value or run == 2**run_bits - 1:
            yield run, int(value)
            run = 0
        else:
            run += 1


def encode_run_length(x, out, run_bits=2):
    for run, value in run_length_entries(x.ravel(), run_bits):
        out.write(run, run_bits)
        out.write(value, VALUE)


def decode_run_length(shape, fields):
    flat = []
    for run in fields:
        flat += [0] * run + [next(fields)]
    return np.pad(flat, (0, math.prod(shape) - len(flat))).astype(int).reshape(shape)


def encode_csc(x, out):
    matrix = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    lines = [list(run_length_entries(line, 1)) for line in matrix]
    for start in np.cumsum([0, *map(len, lines)]):
        out.write(int(start), width(x.size + 1))
    for run, value in itertools.chain(*lines):
        out.write(run, 1)
        out.write(value, VALUE)


def decode_csc(shape, fields):
    rows = math.prod(shape[:-1])
    starts = [next(fields) for _ in range(rows + 1)]
    lines = []
    for entries in np.diff(starts):
        pairs = iter([next(fields) for _ in range(2 * entries)])
        lines.append(decode_run_length(shape[-1:], pairs))
    return np.reshape(lines, shape)


CODECS = {
    "bitmask": (formats.bitmask, encode_bitmask, decode_bitmask),
    "zvc": (formats.zvc, encode_zvc, decode_zvc),
    "two_level": (
        functools.partial(formats.two_level_bitmask, tile=4),
        encode_two_level,
        decode_two_level,
    ),
    "coo": (formats.coo, encode_coo, decode_coo),
    "csr": (formats.csr, encode_csr, decode_csr),
    "csc": (functools.partial(formats.csc, run_bits=1), encode_csc, decode_csc),
    "run_length": (
        functools.partial(formats.run_length, run_bits=2),
        encode_run_length,
        decode_run_length,
    ),
}

# A few fixed shapes, so that little is compiled; mostly zeros, for long runs.
arrays = st.sampled_from([(40,), (5, 8), (2, 3, 7)]).flatmap(
    lambda shape: hnp.arrays(
        np.int64, shape, elements=st.integers(1, 99), fill=st.just(0)
    )
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
@given(x=arrays)
@settings(max_examples=25)
def test_bits_are_those_of_an_encoding_that_can_be_decoded(name, x):
    _, encode, decode = CODECS[name]
    stream = Stream()
    encode(x, stream)
    np.testing.assert_array_equal(decode(x.shape, iter(stream)), x)
    assert int(jitted(name)(x != 0)) == len(stream)


@functools.cache
def jitted(name):
    return jax.jit(functools.partial(CODECS[name][0], value_bits=VALUE))


@given(x=arrays, n=st.sampled_from([1, 2]), axis=st.sampled_from([0, -1]))
@settings(max_examples=25)
def test_n_m_holds_every_group_or_stores_the_array_dense(x, n, axis):
    lines = np.moveaxis(x, axis, -1)
    padded = np.pad(lines, [(0, 0)] * (x.ndim - 1) + [(0, -lines.shape[-1] % 4)])
    groups = padded.reshape(-1, 4)
    fits = all(np.count_nonzero(group) <= n for group in groups)
    bits = groups.shape[0] * n * (VALUE + 2) if fits else x.size * VALUE
    stored, fitted = grouped(x != 0, n, axis)
    assert (int(stored), bool(fitted)) == (bits, fits)


@functools.partial(jax.jit, static_argnames=("n", "axis"))
def grouped(mask, n, axis):
    bits = formats.n_m(mask, value_bits=VALUE, n=n, m=4, axis=axis)
    return bits, formats.fits_n_m(mask, n=n, m=4, axis=axis)


def test_tiles_of_a_matrix_are_padded_at_the_edge():
    mask = np.zeros((5, 5), bool)
    mask[0, 0] = mask[1, 1] = mask[4, 4] = True
    bits = formats.two_level_bitmask(jnp.asarray(mask), value_bits=8, tile=(2, 2))
    assert int(bits) == 9 + 2 * 4 + 3 * 8


def test_csr_words_are_those_of_scale_sim():
    mask = jnp.asarray(np.random.default_rng(0).random((37, 53)) < 0.3)
    words = formats.csr(mask, value_bits=1, index_bits=1, pointer_bits=1)
    assert int(words) == 2 * int(mask.sum()) + 37 + 1


def test_n_m_words_are_those_of_scale_sim():
    # SCALE-Sim's golden trace gives 34848 -> 18768 words, 1104 of them metadata. Its
    # block size is not given: 4 of 8 rows of the 363 x 96 filter, with the two index
    # bits that its first version fixes, is the reading that agrees.
    mask = jnp.zeros((363, 96), bool)
    assert int(formats.dense(mask, value_bits=1)) == 34848
    bits = formats.n_m(mask, value_bits=32, n=4, m=8, axis=0, index_bits=2)
    values = formats.n_m(mask, value_bits=32, n=4, m=8, axis=0, index_bits=0)
    assert int(bits) == 18768 * 32
    assert int(bits) - int(values) == 1104 * 32


@pytest.mark.parametrize(("density", "run_bits"), [(0.05, 4), (0.02, 5)])
def test_run_length_meets_its_expectation_on_random_zeros(density, run_bits):
    n = 2**16
    mask = np.random.default_rng(1).random(n) < density
    entries = int(
        formats.run_length(jnp.asarray(mask), value_bits=1, run_bits=run_bits)
    )
    entries //= 1 + run_bits
    absent = (1 - density) ** 2**run_bits
    expected = n * density * (1 + absent / (1 - absent))
    # Nonzeros are binomial, the fillers before each are geometric: five deviations.
    spread = math.sqrt(n * density * (1 + absent)) / (1 - absent)
    assert abs(entries - expected) < 5 * spread


def test_bits_are_exact_past_2_to_31():
    mask = jnp.ones((2**12, 2**8), bool)
    assert int(formats.dense(mask, value_bits=2**13 + 1)) == 2**20 * (2**13 + 1)
    assert int(formats.bitmask(mask, value_bits=2**13 + 1)) == 2**20 * (2**13 + 2)
    assert float(formats.bitmask(mask, value_bits=2**13).as_float()) == 2**33 + 2**20


def test_as_float_of_a_count_is_exact_where_float32_is():
    for value in (0, 1, 4095, 4096, 2**24 - 1, 2**24 + 1, 3 * 2**60, 2**72 - 1):
        as_float = formats.Count.of(value).as_float()
        assert as_float.dtype == jnp.float32
        assert float(as_float) == np.float32(value)


def test_table_is_the_same_jitted_and_batched():
    masks = jnp.asarray(np.random.default_rng(2).random((3, 6, 8)) < 0.2)
    batched = jax.jit(jax.vmap(functools.partial(table, value_bits=8)))(masks)
    for i, mask in enumerate(masks[:2]):
        alone = table(mask, value_bits=8)
        assert list(alone) == list(batched) == ["nonzeros", *FORMATS]
        for name, bits in alone.items():
            np.testing.assert_array_equal(bits.limbs, batched[name].limbs[i])


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_degenerate_shapes_have_bits(shape):
    mask = jnp.ones(shape, bool)
    assert int(formats.run_length(mask, value_bits=8, run_bits=4)) == 12 * mask.size
    assert int(formats.csr(mask, value_bits=8, pointer_bits=0)) == 8 * mask.size
    assert int(formats.dense(mask, value_bits=8)) == 8 * mask.size


def test_storage_names_operations_arrays_and_formats():
    weight = np.zeros((3, 8, 5), bool)
    weight[:, ::2] = True  # 2 of 4 along the channels, and more along the filters
    profile = OpProfile(
        activation=jnp.ones((2, 6, 8), bool),
        weight=jnp.asarray(weight),
        output=jnp.zeros((2, 4, 5), bool),
        geometry=Geometry((1,), ((0, 0),), (1,), (1,)),
    )
    bits = jax.jit(storage)({"conv1": profile})["conv1"]
    assert list(bits) == ["activation", "weight", "output"]
    assert int(bits["activation"]["nonzeros"]) == 96
    assert int(bits["weight"]["n_m_2_4"]) == 60 * 18
    assert int(bits["output"]["coo"]) == 0
    assert int(bits["output"]["bitmask"]) == 40


def test_what_is_no_mask_or_no_width_is_refused():
    mask = jnp.ones((2, 4), bool)
    with pytest.raises(TypeError, match="mask must be bool, got float32"):
        unwrap(formats.zvc)(jnp.ones(3), value_bits=8)  # past the shape checker
    with pytest.raises(ValueError, match="value_bits must be an integer >= 1, got 0"):
        formats.dense(mask, value_bits=0)
    with pytest.raises(ValueError, match="run_bits must be"):
        formats.run_length(mask, value_bits=8, run_bits=0)
    with pytest.raises(ValueError, match="tile must be"):
        formats.two_level_bitmask(mask, value_bits=8, tile=(2, 0))
    with pytest.raises(ValueError, match="at most the 2 axes"):
        formats.two_level_bitmask(mask, value_bits=8, tile=(1, 2, 2))
    with pytest.raises(ValueError, match="n must be in"):
        formats.n_m(mask, value_bits=8, n=5, m=4)
