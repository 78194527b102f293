"""Machines of today: data sheets' peaks, memory, patterns, and events."""

import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.cost import accelerators
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.estimates.estimate import estimate


def product(rows: int, channels: int, filters: int, kept: int = 4) -> OpProfile:
    """A matrix product whose weights keep the first of every 4 channels."""
    weight = jnp.arange(channels) % 4 < kept
    return OpProfile(
        activation=jnp.ones((rows, channels), bool),
        weight=jnp.broadcast_to(weight[:, None], (channels, filters)),
        output=jnp.ones((rows, filters), bool),
        geometry=Geometry(),
    )


@pytest.mark.parametrize(
    ("preset", "tera"),
    [("hopper_2_4", 1979), ("blackwell_2_4", 4500), ("tpu_v1", 92)],
)
def test_peaks_are_those_of_the_data_sheets(preset, tera):
    machine = accelerators.create(preset)
    peak = 2 * machine.multipliers * machine.clock / 1e12
    assert peak == pytest.approx(tera, rel=0.003)


def test_operations_per_byte_where_the_tpu_stops_waiting():
    """Jouppi et al., section 2: about 1350 for a byte of weights."""
    machine = accelerators.create("tpu_v1")
    ridge = machine.multipliers * machine.clock / machine.dram_bandwidth
    assert ridge == pytest.approx(1350, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "binds"), [(1, "dram"), (4096, "compute")])
def test_sparse_gpus_are_bound_by_memory_at_small_batches(rows, binds):
    """And 2:4 weights halve the cycles; so do they about the bytes of weights."""
    machine = accelerators.create("hopper_2_4")
    full, half = (
        estimate({"op": product(rows, 4096, 2048, kept)}, machine).total
        for kept in (4, 2)
    )
    assert full.binds == half.binds == binds
    padded = max(rows, 8) * 4096 * 2048
    assert float(full.cycles.compute) == -(-padded // (132 * 4096))
    assert float(half.cycles.compute) == -(-padded // (2 * 132 * 4096))
    assert float(half.bits.weight) == float(full.bits.weight) * (8 + 2) / 16


def test_a_tile_of_the_tpu_takes_at_least_as_long_as_the_next_one():
    machine = accelerators.create("tpu_v1")
    for rows, cycles in ((1, 256), (256, 256), (1000, 1000)):
        assert float(machine.cycles(product(rows, 300, 10))) == 2 * cycles


def slots(weight: np.ndarray, h0: int, h1: int) -> float:
    """Slots of one filter's channels by a pattern; infinite if it has it not."""
    groups = range(0, len(weight), h0 * h1)
    for first in groups:
        blocks = [
            int(weight[i : i + h0].sum())
            for i in range(first, min(first + h0 * h1, len(weight)), h0)
        ]
        if max(blocks) > 2 or sum(n > 0 for n in blocks) > 4:
            return np.inf
    return 8 * len(groups)


@pytest.mark.slow
def test_highlight_takes_the_sparsest_pattern_that_weights_have():
    machine = accelerators.create("highlight", rows=1, columns=1)
    rng, found = np.random.default_rng(0), set()
    for h0, h1 in ((2, 4), (3, 5), (4, 8), (4, 6), (2, 7)):
        weight = np.zeros(96, bool)
        for first in range(0, 96, h0 * h1):
            for block in rng.permutation(h1)[:4]:
                inside = rng.permutation(h0)[:2]
                at = first + block * h0 + inside
                weight[at[at < 96]] = True
        op = product(1, 96, 1)
        op = OpProfile(
            op.activation, jnp.asarray(weight[:, None]), op.output, Geometry()
        )
        options = [slots(weight, *sizes) for sizes in machine.patterns]
        best = min(96, *options)
        assert float(machine.cycles(op)) == best
        found.add(best)
    assert min(found) == 96 / 4
    assert max(found) == 96


def test_loihi_works_for_nonzero_weights_of_nonzero_activations():
    rng = np.random.default_rng(0)
    x, w = rng.random((2, 40)) < 0.3, rng.random((40, 24)) < 0.2
    op = OpProfile(*map(jnp.asarray, (x, w)), jnp.ones((2, 24), bool), Geometry())
    options = {"energy": "loihi", "dram_bandwidth": float("inf")}
    machine = accelerators.create("loihi", cores=8, update_cycles=2.0, **options)
    fan_out = int((x @ w.sum(1)).sum())
    layer = estimate({"fc": op}, machine).layers["fc"]
    assert float(layer.executed) == fan_out
    assert float(layer.cycles.compute) == -(-(fan_out + 2 * 48) // 8)
    assert float(layer.energy.total) == pytest.approx(23.6 * fan_out + 81 * 48)
    assert layer.binds == "compute"
