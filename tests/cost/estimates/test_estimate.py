"""`estimate` and `sweep`: memory and energy, and what transformations leave alone.

T11's vmap == loop, jit == no jit and finite gradients are here.
"""

import dataclasses
import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost
from dst_jax.cost import accelerators
from dst_jax.cost.accelerators.base import dense_bits
from dst_jax.cost.accelerators.work import Work
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.estimates.estimate import Estimate, estimate, sweep
from dst_jax.cost.estimates.estimate_result import BOUNDS
from dst_jax.jaxprs import shared_work

PLANE = Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1))


def profiles(density: float = 0.4, batch: int = 2) -> dict[str, OpProfile]:
    rng = np.random.default_rng(0)

    def mask(*shape: int):
        return jnp.asarray(rng.random(shape) < density)

    return {
        "conv": OpProfile(
            mask(batch, 8, 8, 16), mask(3, 3, 16, 24), mask(batch, 8, 8, 24), PLANE
        ),
        "fc": OpProfile(mask(batch, 64), mask(64, 10), mask(batch, 10), Geometry()),
    }


OPS = profiles()
FC = {"fc": OPS["fc"]}


def assert_close(a: Estimate, b: Estimate) -> None:
    """Equal to float32's rounding, which fusion may change."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


@pytest.mark.slow
def test_jit_changes_nothing():
    """T11."""
    machine = accelerators.create("cambricon_x")
    assert_close(jax.jit(estimate)(FC, machine), estimate(FC, machine))


def test_result_of_a_layer():
    """A case by hand: 2 x 64 by 64 x 10 on 4 x 4 multipliers."""
    machine = accelerators.create(
        "dense", rows=4, columns=4, clock=1e9, dram_bandwidth=1e9, sram_bandwidth=100
    )
    layer = estimate(OPS, machine).layers["fc"]
    bits = 16 * np.array([128, 640, 20])
    assert [float(b) for b in layer.bits] == bits.tolist()
    assert float(layer.cycles.compute) == 3 * 64  # ceil(10 / 4) tiles of 2 rows
    assert float(layer.executed) == 2 * 64 * 10
    assert float(layer.dram_bits) == bits.sum()
    assert float(layer.cycles.dram) == pytest.approx(bits.sum() / 8)
    assert float(layer.sram_bits) == bits @ [3, 1, 1]
    assert float(layer.cycles.sram) == pytest.approx(bits @ [3, 1, 1] / 800)
    assert layer.binds == BOUNDS[int(layer.bound)] == "dram"
    assert float(layer.cycles.total) == float(layer.cycles.dram)
    assert float(layer.seconds) == pytest.approx(bits.sum() / 8e9)
    assert float(layer.utilisation) == pytest.approx(1280 / (192 * 16))
    effectual = int(OPS["fc"].counts.effectual)
    assert float(layer.effectual_per_cycle) == pytest.approx(
        effectual / float(layer.cycles.total)
    )
    assert float(layer.energy.dram) == pytest.approx(bits.sum() * 8)


def test_total_and_one_example():
    result = estimate(OPS, accelerators.create("dense"))
    assert list(result.layers) == ["conv", "fc"]
    total, one = result.total, result.per_example
    for name in ("conv", "fc"):
        assert result.layers[name].mode == total.mode == "sparse"
    layers = result.layers.values()
    assert float(total.cycles.total) == sum(float(x.cycles.total) for x in layers)
    assert float(total.energy.total) == pytest.approx(
        sum(float(x.energy.total) for x in layers)
    )
    assert (result.examples, one.examples) == (2, 1)
    assert float(one.total.dram_bits) == float(total.dram_bits) / 2
    assert float(one.total.bits.weight) == float(total.bits.weight)
    assert float(one.total.bits.output) == float(total.bits.output) / 2
    assert float(one.total.utilisation) == pytest.approx(float(total.utilisation))
    assert (result.table, result.unit) == ("accelergy45_eyeriss", "pJ")
    mixed = estimate(OPS, accelerators.create("eie"))
    assert (mixed.total.mode, mixed.layers["fc"].mode) == ("mixed", "sparse")


def test_bad_input():
    counts = cost.count(lambda w, x: x @ w)(jnp.ones((2, 2)), jnp.ones((1, 2)))
    machine = accelerators.create("dense")
    with pytest.raises(TypeError, match=r"cost\.profile.*got OpCounts for"):
        estimate(counts, machine)
    with pytest.raises(ValueError, match="at least one operation"):
        estimate({}, machine)
    with pytest.raises(ValueError, match="examples must be at least 1, got 0"):
        estimate(OPS, machine, examples=0)
    with pytest.raises(ValueError, match="arrays of one axis and one length"):
        sweep(OPS, machine)
    uneven = dataclasses.replace(
        machine, rows=jnp.ones(2, int), columns=jnp.ones(3, int)
    )
    with pytest.raises(ValueError, match=r"got shapes \[\(2,\), \(3,\)\]"):
        sweep(OPS, uneven)


@pytest.fixture
def no_map(monkeypatch):
    """Refuses to evaluate configurations one after the other."""
    monkeypatch.setattr(shared_work, "lax", types.SimpleNamespace())


@jax.jit
def slowed(nonzeros, lanes, slowdown):
    return ((nonzeros + lanes - 1) // lanes).sum() * slowdown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Banks(accelerators.Accelerator):
    """Nonzero weights of every input, summed by an ordinary jitted function."""

    clock: Any = 1e9
    lanes: Any = 4
    slowdown: Any = 1.0

    @property
    def multipliers(self):
        return self.lanes

    def reduce(self, profile):
        return profile.weight.sum(-1)

    def sparse_work(self, measured):
        cycles = slowed(measured.detail, self.lanes, self.slowdown)
        return Work(cycles, measured.macs.by_weight, jnp.float32(0), 1, 1)

    def storage(self, profile):
        return dense_bits(profile, self.value_bits)


def test_sweep_of_an_accelerator_of_ones_own(no_map):
    lanes, slowdown = jnp.array([1, 3, 1, 16, 3]), jnp.linspace(1, 2, 5)
    result = sweep(FC, Banks(lanes=lanes, slowdown=slowdown)).layers["fc"]
    nonzeros = np.asarray(FC["fc"].weight.sum(1))
    slots = np.array([-(-nonzeros // n).sum() for n in lanes.tolist()])
    assert len(nonzeros) > shared_work.SMALL
    np.testing.assert_allclose(result.cycles.compute, slots * slowdown, rtol=1e-6)


@pytest.mark.slow
def test_gradients_of_a_sweep(no_map):
    """Equal to those of one estimate after the other."""
    lanes, slowdowns = jnp.array([1, 2, 1, 4]), jnp.array([1.0, 1.5, 1.2, 2.0])

    def price(estimated, slowdown, table, lanes):
        machine = Banks(lanes=lanes, slowdown=slowdown, energy=table, clock=1e5)
        total = estimated(FC, machine).total
        return (total.energy.total + total.cycles.total).sum()

    gradient = jax.grad(price, argnums=(1, 2))
    table = Banks().energy
    found = gradient(sweep, slowdowns, table, lanes)
    by_one = jax.vmap(functools.partial(gradient, estimate), in_axes=(0, None, 0))
    by_slowdown, by_table = by_one(slowdowns, table, lanes)
    assert float(found[0].min()) > 0
    np.testing.assert_allclose(found[0], by_slowdown, rtol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (found[1], by_table)), strict=True):
        np.testing.assert_allclose(a, b.sum(), rtol=1e-5)


def test_vmap_is_a_sweep():
    """T11."""
    many = Banks(lanes=jnp.array([1, 3, 1]), slowdown=jnp.array([1.0, 1.5, 1.2]))
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, many)
    mapped = jax.vmap(lambda m: estimate(FC, m), in_axes=(axes,))(many)
    assert_close(mapped, sweep(FC, many))


@pytest.mark.slow
def test_masks_are_reduced_once():
    """10,000 configurations need no more memory than 32, their results aside."""

    def planned(configurations: int) -> int:
        kappa = jnp.linspace(1, 2, configurations)
        program = jax.jit(lambda ops, m: sweep(ops, m, batch_size=32))
        compiled = program.lower(FC, accelerators.create("scnn", kappa=kappa)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    numbers = len(jax.tree.leaves(estimate(FC, accelerators.create("scnn"))))
    results = 4 * numbers * 10_000
    assert planned(10_000) <= planned(32) + 3 * results


def test_gradients_are_finite():
    """T11: of energy and time, with respect to every number that is a float."""

    def price(floats):
        machine = dataclasses.replace(accelerators.create("scnn"), **floats)
        total = estimate(FC, machine).total
        return total.energy.total + total.cycles.total

    floats = {
        "kappa": 1.2,
        "clock": 1e9,
        "dram_bandwidth": 1e9,
        "sram_bandwidth": 64.0,
        "energy": accelerators.create("scnn").energy,
    }
    gradients = jax.grad(price)(floats)
    values = jnp.array(jax.tree.leaves(gradients))
    assert bool(jnp.isfinite(values).all())
    assert float(gradients["kappa"]) > 0 or float(gradients["dram_bandwidth"]) < 0
    assert float(gradients["energy"].mac) == int(FC["fc"].counts.effectual)


@pytest.mark.slow
def test_a_network_through_profile():
    """The dict of `cost.profile`, with pruned weights, straight into an estimate."""

    def net(params, x):
        x = jax.nn.relu(x @ params["fc1"])
        return x @ params["fc2"]

    rng = np.random.default_rng(0)
    params = {
        "fc1": jnp.asarray(rng.standard_normal((32, 48)).astype(np.float32)),
        "fc2": jnp.asarray(rng.standard_normal((48, 10)).astype(np.float32)),
    }
    x = jnp.asarray(rng.standard_normal((4, 32)).astype(np.float32))
    machine = accelerators.create("eyeriss_v2")
    pruned = jax.tree.map(lambda w: jnp.where(jnp.abs(w) > 1, w, 0), params)

    @jax.jit
    def time(p):
        return estimate(cost.profile(net)(p, x), machine)

    dense, sparse = time(params), time(pruned)
    assert float(sparse.total.cycles.compute) < float(dense.total.cycles.compute)
    assert float(sparse.total.bits.weight) < float(dense.total.bits.weight)
    counts = cost.total(cost.count(net)(pruned, x))
    assert float(sparse.total.macs.effectual) == int(counts.effectual)
