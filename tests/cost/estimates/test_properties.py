"""Units, linearity and monotonicity of estimates, for all presets and random numbers.

One program a preset: masks and all numbers of the accelerator are its arguments.
"""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.cost import accelerators
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.estimates.estimate import estimate, sweep
from dst_jax.jaxprs import shared_work

MORE = {  # is never slower
    "dense": ("rows", "columns"),
    "eyeriss_v1": ("pes", "tile_filters", "tile_rows", "tile_channels"),
    "eyeriss_v2": ("simd",),
    "cnvlutin": ("units", "unit_filters"),
    "cambricon_x": ("lanes",),
    "scnn": ("activation_lanes", "weight_lanes"),
    "sparten": ("clusters",),
    "dstc": ("per_cycle",),
    "tensor_core_2_4": ("rows", "columns"),
    "hopper_2_4": ("multiprocessors",),
    "blackwell_2_4": ("multiprocessors",),
    "tpu_v1": ("columns", "accumulators"),  # weights are shifted in row by row
    "highlight": ("rows", "columns"),
    "loihi": ("cores",),
}
SWEPT = (
    *("dense", "eyeriss_v1", "eyeriss_v2", "cnvlutin", "cambricon_x", "scnn"),
    *("sparten", "dstc", "tensor_core_2_4", "eie"),
)
MEMORY = "activation_buffer", "weight_buffer", "dram_bandwidth", "sram_bandwidth"
PRESETS = pytest.mark.parametrize("preset", accelerators.names())
FACTORS = st.floats(0.125, 8)
SEEDS = st.integers(0, 2**32 - 1)
in_twos = functools.partial(sweep, batch_size=2)
SOME = settings(max_examples=15)


@functools.partial(jax.jit, static_argnums=(0, 1))
def estimated(how, preset, activation, weight, numbers):
    """A product that every preset runs sparsely."""
    output = jnp.ones((len(activation), weight.shape[1]), bool)
    op = OpProfile(activation, weight, output, Geometry())
    machine = dataclasses.replace(accelerators.create(preset), **numbers)
    return how({"fc": op}, machine)


def total(*args):
    return estimated(estimate, *args).total


def numbers_of(preset, **changed):
    """All numbers of a preset, with buffers that bind."""
    base = accelerators.create(preset, **dict.fromkeys(MEMORY[:2], 64))
    names = [*MORE.get(preset, ()), *MEMORY, "clock", "energy"]
    names += ["kappa"] if preset == "scnn" else []
    return {name: getattr(base, name) for name in names} | changed


def masks(seed, density=0.5):
    rng = np.random.default_rng(seed)
    shares = rng.random((3, 40)), rng.random((40, 24))
    return [jnp.asarray(share < density) for share in shares]


def scaled(table, factor, static):
    """A table in another unit of energy, and of time."""
    numbers = jax.tree.map(lambda x: x * factor, table)
    return dataclasses.replace(numbers, static_power=table.static_power * static)


@pytest.mark.slow  # the first, which compiles
@PRESETS
@SOME
@given(seed=SEEDS, time=FACTORS, energy=FACTORS)
def test_units(preset, seed, time, energy):
    """Clock and bandwidth in another unit of time, the table in another of energy."""
    op, numbers = masks(seed), numbers_of(preset)
    table = dataclasses.replace(numbers["energy"], static_power=0.01)
    before = total(preset, *op, numbers | {"energy": table})
    after = total(
        preset,
        *op,
        numbers
        | {
            "clock": numbers["clock"] * time,
            "dram_bandwidth": numbers["dram_bandwidth"] * time,
            "energy": scaled(table, energy, energy * time),
        },
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close(after.seconds * time, before.seconds)
    jax.tree.map(close, after.energy, jax.tree.map(lambda x: x * energy, before.energy))
    same = [
        (x.cycles, x.macs, x.executed, x.gated, x.bits, x.dram_bits, x.sram_bits)
        for x in (before, after)
    ]
    jax.tree.map(close, *same)


@PRESETS
@SOME
@given(seed=SEEDS, factors=st.tuples(FACTORS, FACTORS))
def test_energy_is_linear_in_the_table(preset, seed, factors):
    op, numbers = masks(seed), numbers_of(preset)
    one = dataclasses.replace(numbers["energy"], static_power=0.01)
    rng = np.random.default_rng(seed)
    other = jax.tree.map(lambda _: float(rng.random()), one)
    both = jax.tree.map(lambda x, y: factors[0] * x + factors[1] * y, one, other)
    first, second, sums = (
        total(preset, *op, numbers | {"energy": table}).energy.total
        for table in (one, other, both)
    )
    wanted = factors[0] * float(first) + factors[1] * float(second)
    assert float(sums) == pytest.approx(wanted, rel=1e-5)


@PRESETS
@SOME
@given(seed=SEEDS, few=st.floats(0, 1), more=st.floats(0, 1))
def test_more_nonzeros_take_no_less(preset, seed, few, more):
    """The same seed draws the same numbers: the denser masks contain the others."""
    few, more = sorted((few, more))
    less, most = (
        total(preset, *masks(seed, density), numbers_of(preset))
        for density in (few, more)
    )
    if preset != "sparten":  # it pairs filters anew
        assert less.cycles.compute <= most.cycles.compute
    assert less.macs.effectual <= most.macs.effectual
    assert less.dram_bits <= most.dram_bits
    assert all(a <= b for a, b in zip(less.bits, most.bits, strict=True))


@pytest.mark.slow  # it compiles another program
@pytest.mark.parametrize("preset", SWEPT)
def test_sweep_is_a_loop(preset, monkeypatch):
    """T11: configurations at once, by distinct rows, equal one after the other."""
    monkeypatch.setattr(shared_work, "lax", types.SimpleNamespace())  # no `lax.map`
    rng, op, base = np.random.default_rng(0), masks(0), numbers_of(preset)
    many = {
        "clock": rng.uniform(1e8, 1e9, 5),
        "dram_bandwidth": rng.uniform(1e8, 1e9, 5),
    }
    many |= {"kappa": rng.uniform(1, 2, 5)} if preset == "scnn" else {}
    many |= {name: rng.integers(1, 4, 5) for name in MORE.get(preset, ())}
    result = estimated(in_twos, preset, *op, base | jax.tree.map(jnp.asarray, many))
    for i in range(5):
        one = base | {name: values[i].item() for name, values in many.items()}
        alone = estimated(estimate, preset, *op, one)
        found = jax.tree.map(lambda x, i=i: x[i], result)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-6), found, alone
        )


def test_every_preset_is_tried():
    """Of EIE only the memory: its queue and its elements are shapes of the program."""
    assert MORE.keys() | {"eie"} == {*accelerators.names()}


@PRESETS
@SOME
@given(seed=SEEDS, data=st.data())
def test_more_hardware_is_never_slower(preset, seed, data):
    op, numbers = masks(seed), numbers_of(preset, sram_bandwidth=8.0)
    slow = total(preset, *op, numbers)
    name = data.draw(st.sampled_from((*MORE.get(preset, ()), *MEMORY)))
    fast = total(
        preset, *op, numbers | {name: numbers[name] * data.draw(st.integers(1, 9))}
    )
    for part in ("compute", "dram", "sram", "total"):
        before, after = (getattr(x.cycles, part) for x in (slow, fast))
        assert float(after) <= float(before) * (1 + 1e-6), part
