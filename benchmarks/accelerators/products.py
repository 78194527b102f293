"""Accelerators on matrix products: Eyeriss v2's element, tensor cores, EIE."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerators.comparison import Row
from benchmarks.accelerators.published import (
    DSTC_CYCLES,
    EIE_LAYERS,
    TENSOR_CORE_ROWS,
    EieLayer,
    TensorCoreRow,
)
from dst_jax.cost import accelerators
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.counting.synthetic import synthetic

__all__ = [
    "ELEMENT_LAYERS",
    "density_rows",
    "dstc_rows",
    "eie_profile",
    "eie_rows",
    "element_profile",
    "element_rows",
    "tensor_core_profile",
    "tensor_core_rows",
]

# Nonzeros per channel of 8 layers of a pruned MobileNet, and the cycles of a simulated
# Eyeriss v2 element with one multiplier: Sparseloop's artifact (MICRO 2022), fig12.
ELEMENT_LAYERS = json.loads(
    (Path(__file__).parents[2] / "tests/data/eyeriss_v2_pe_golden.json").read_text()
)


def element_rows() -> Iterator[Row]:
    """The element on real masks."""
    machine = accelerators.create("eyeriss_v2", pes=1, simd=1)
    for name, case in ELEMENT_LAYERS.items():
        model = float(machine.cycles(element_profile(case)))
        yield Row("eyeriss_v2", f"{name}: cycles of one element", case["cycles"], model)


def density_rows() -> Iterator[Row]:
    """The same cycles as a product of two densities, which shows what masks add."""
    for name, case in ELEMENT_LAYERS.items():
        dense = case["C"] * case["M"] * case["E"] * case["F"]
        model = dense * case["densA"] * case["densW"]
        yield Row("densities", f"{name}: product of densities", case["cycles"], model)


def element_profile(case: dict[str, Any]) -> OpProfile:
    """Masks with given numbers of nonzeros per channel, at arbitrary positions."""
    rows = case["E"] * case["F"]
    activation = np.arange(rows)[:, None] < np.array(case["A"])
    weight = np.arange(case["M"]) < np.array(case["W"])[:, None]
    return OpProfile(
        activation=jnp.asarray(activation),
        weight=jnp.asarray(weight),
        output=jnp.ones((rows, case["M"]), bool),
        geometry=Geometry(),
    )


def tensor_core_rows() -> Iterator[Row]:
    """ResNet50's products on dense, 2:4 and dual-side accelerators."""
    for case in TENSOR_CORE_ROWS:
        what = f"{case.filters}-{case.channels}-{case.rows}, {{}}"
        pattern = tensor_core_profile(case)
        dense = accelerators.create("dense").cycles(pattern)
        sparse = accelerators.create("tensor_core_2_4").cycles(pattern)
        yield Row("dense", what.format("cycles"), case.dense, float(dense))
        yield Row("tensor_core_2_4", what.format("cycles"), case.sparse, float(sparse))
        for density, published in zip((1, 1 / 2, 1 / 3, 1 / 4), case.dstc, strict=True):
            shapes = (case.rows, case.channels), (case.channels, case.filters)
            drawn = synthetic(
                Geometry(), shapes, case.density, density, jax.random.key(0)
            )
            model = accelerators.create("dstc").cycles(drawn)
            label = what.format(f"cycles, weights {density:.2f}")
            yield Row("dstc", label, published, float(model))


def tensor_core_profile(case: TensorCoreRow) -> OpProfile:
    """A product whose weights keep every second channel: the 2:4 pattern."""
    kept = jnp.arange(case.channels) % 2 == 0
    return OpProfile(
        activation=jnp.ones((case.rows, case.channels), bool),
        weight=jnp.broadcast_to(kept[:, None], (case.channels, case.filters)),
        output=jnp.ones((case.rows, case.filters), bool),
        geometry=Geometry(),
    )


def dstc_rows(size: int = 1024, contracted: int = 256) -> Iterator[Row]:
    """Latency over that of dense operands; a sum over k needs no 4096 of them."""
    dstc = accelerators.create("dstc")

    def latency(a: float, b: float) -> float:
        shapes = (size, contracted), (contracted, size)
        key = jax.random.key(0)
        return float(dstc.cycles(synthetic(Geometry(), shapes, a, b, key)))

    dense, published = latency(1, 1), DSTC_CYCLES[1.0][0]
    for a, measured in DSTC_CYCLES.items():
        for b, value in zip((1.0, 0.4), measured, strict=True):
            if a == b == 1:
                continue
            what = f"latency / dense at densities {a} and {b}"
            yield Row("dstc", what, value / published, latency(a, b) / dense)


def eie_rows() -> Iterator[Row]:
    """Microseconds at 800 MHz: entries spread evenly, and with queues of 8."""
    machine: Any = accelerators.create("eie")
    even = jax.jit(machine.theoretical_cycles)
    for i, layer in enumerate(EIE_LAYERS):
        profile = eie_profile(layer, np.random.default_rng(i))
        times = [float(f) / 800 for f in (even(profile), machine.cycles(profile))]
        yield Row("eie", f"{layer.name}: us, even", layer.theoretical_us, times[0])
        yield Row("eie", f"{layer.name}: us, queues", layer.actual_us, times[1])


def eie_profile(layer: EieLayer, rng: np.random.Generator) -> OpProfile:
    weight = rng.random((layer.inputs, layer.outputs), np.float32)
    row = rng.random((1, layer.inputs), np.float32)
    return OpProfile(
        activation=jnp.asarray(row < layer.density_activation),
        weight=jnp.asarray(weight < layer.density_weight),
        output=jnp.ones((1, layer.outputs), bool),
        geometry=Geometry(),
    )
