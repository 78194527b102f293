"""Published cycles: T3, T4 and T9 are independent checks, T5 and T10 regressions.

The tolerances of T5 and T10 were set after a prototype had been seen: they hold the
models where they are and say nothing about their accuracy elsewhere. So do the whole
networks at the end.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.accelerators import convolutions, products
from benchmarks.accelerators.networks import ALEXNET, GOOGLENET, draw
from benchmarks.accelerators.published import EIE_LAYERS, TENSOR_CORE_ROWS
from dst_jax.cost import accelerators
from dst_jax.cost.accelerators import Accelerator
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.estimates import energy
from dst_jax.cost.storage import formats

ELEMENT = accelerators.create("eyeriss_v2", pes=1, simd=1)


def product(activation: np.ndarray, weight: np.ndarray) -> OpProfile:
    return OpProfile(
        activation=jnp.asarray(activation),
        weight=jnp.asarray(weight),
        output=jnp.ones((activation.shape[0], weight.shape[1]), bool),
        geometry=Geometry(),
    )


def columns(nonzeros: list[int], size: int) -> np.ndarray:
    """(size, channel): so many of the first elements of every column."""
    return np.arange(size)[:, None] < np.array(nonzeros)


@jax.jit
def work(machine: Accelerator, op: OpProfile):
    return machine.work(machine.measure(op))


@pytest.mark.parametrize("layer", products.ELEMENT_LAYERS)
def test_eyeriss_v2_element(layer):
    """T3: the artifact's one-multiplier element on real masks, to the cycle."""
    case = products.ELEMENT_LAYERS[layer]
    assert int(ELEMENT.cycles(products.element_profile(case))) == case["cycles"]


def test_tutorial_dot_product():
    """T4: 16 elements at density 1/4, computed, gated and skipped."""
    op = product(np.arange(16)[None] % 4 == 0, np.ones((16, 1), bool))
    one = {"rows": 1, "columns": 1}
    dense = work(accelerators.create("dense", **one), op)
    assert (int(dense.cycles), int(dense.executed)) == (16, 16)
    gating = work(accelerators.create("eyeriss_v1", pes=1, utilisation=1.0), op)
    assert (int(gating.cycles), int(gating.executed), int(gating.gated)) == (16, 4, 12)
    skipping = work(ELEMENT, op)
    assert (int(skipping.cycles), int(skipping.executed)) == (4, 4)


def test_tutorial_matrix_product():
    """T4: 8 x 8 x 8, 2 of 8 and 4 of 8 in every column and row: 64 of 512."""
    op = product(columns([2] * 8, 8), columns([4] * 8, 8).T)
    assert int(op.counts.dense) == 512
    skipping = work(ELEMENT, op)
    assert (int(skipping.cycles), int(skipping.executed)) == (64, 64)


@pytest.mark.parametrize(
    ("filters", "density", "dense", "golden"),
    [(1, 0.43, 27, 12), (16, 0.4333, 432, 188)],
)
def test_tutorial_convolution(filters, density, dense, golden):
    """T4: 3 taps, 9 outputs. The goldens are expectations, rounded up.

    No mask has them: each weight takes part in 9 products. The densest mask below and
    the sparsest above enclose them.
    """
    line = Geometry((1,), ((0, 0),), (1,), (1,))
    ones = jnp.ones((1, 11, 1), bool), jnp.ones((1, 9, filters), bool)
    found = []
    for kept in (math.floor(3 * filters * density), math.ceil(3 * filters * density)):
        weight = jnp.arange(3 * filters).reshape(3, 1, filters) < kept
        op = OpProfile(ones[0], weight, ones[1], line)
        assert int(op.counts.valid) == dense
        found.append(int(ELEMENT.cycles(op)))
    assert math.ceil(dense * density) == golden
    assert found[0] <= golden <= found[1]


def test_bitmask_against_coordinates():
    """T4, the trend of Sparseloop's figure 1: 128^3, both operands at one density.

    Gating behind a bitmask takes the same cycles always, skipping by coordinates takes
    the effectual ones, and costs less energy up to a density between 0.04 and 0.08.
    """
    # The figure's multiplier has 8 bits; its energies are of Accelergy's int8 table.
    table = energy.create("accelergy45_eyeriss", mac=0.561, gated=0.018)

    def costs(per_column: int) -> tuple[float, float, int, int]:
        op = product(
            columns([per_column] * 128, 128), columns([per_column] * 128, 128).T
        )
        gating = work(accelerators.create("eyeriss_v1", pes=1, utilisation=1.0), op)
        skipping = work(ELEMENT, op)
        effectual = skipping.executed
        # The activation is read for each of 128 filters, the weight once.
        bits = [
            128 * int(f(op.activation, value_bits=8)) + int(f(op.weight, value_bits=8))
            for f in (formats.bitmask, formats.coo)
        ]
        gated = gating.cycles - effectual
        spent = (
            energy.Actions(effectual, gated, bits[0], 0.0, 0.0),
            energy.Actions(effectual, 0.0, bits[1], 0.0, 0.0),
        )
        joules = [float(energy.split(table, actions).total) for actions in spent]
        return (*joules, int(gating.cycles), int(skipping.cycles))

    found = {n: costs(n) for n in (5, 10, 13, 51)}
    assert {found[n][2] for n in found} == {128**3}
    assert [found[n][3] for n in found] == [128 * n * n for n in found]
    assert found[5][1] < found[5][0], "coordinates win at 5/128 = 0.04"
    assert all(found[n][1] > found[n][0] for n in (10, 13, 51)), "the bitmask from 0.08"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", TENSOR_CORE_ROWS, ids=lambda c: f"{c.filters}-{c.channels}"
)
def test_tensor_core_case_study(case):
    """T9: the dense and the 2:4 columns, to the cycle; unpruned weights run dense."""
    op = products.tensor_core_profile(case)
    assert int(accelerators.create("dense").cycles(op)) == case.dense
    sparse = accelerators.create("tensor_core_2_4")
    assert int(sparse.cycles(op)) == case.sparse
    full = product(np.ones(op.activation.shape, bool), np.ones(op.weight.shape, bool))
    assert int(sparse.cycles(full)) == case.dense


def test_dual_side_tensor_core():
    """T5, a regression: the points with a sparse left operand."""
    errors = [
        abs(row.error)
        for row in products.dstc_rows(size=512, contracted=128)
        if "densities 1.0" not in row.what
    ]
    assert len(errors) == 8
    assert np.mean(errors) <= 0.08
    assert max(errors) <= 0.12


@pytest.mark.slow
def test_scnn_synthetic_sweep():
    """T10, a regression: GoogLeNet's inception modules at synthetic densities."""
    found = [row.model for row in convolutions.scnn_rows(GOOGLENET)]
    ranges = [(0.70, 0.83), (0.85, 1.05), (20, 28), (2.2, 2.9), (1.4, 1.9)]
    for model, (low, high) in zip(found, ranges, strict=True):
        assert low <= model <= high


@pytest.mark.slow
def test_alexnet_skipping_one_operand():
    """Regression of 5.4 and 5.5: measured zeros of inputs; weights' from memory."""
    profiles = [draw(x, np.random.default_rng(0)) for x in ALEXNET]
    cnvlutin, cambricon = (
        sum(float(accelerators.create(name).cycles(op)) for op in profiles)
        for name in ("cnvlutin", "cambricon_x")
    )
    dadiannao = sum(map(convolutions.dadiannao_cycles, ALEXNET))
    assert dadiannao / cnvlutin == pytest.approx(1.24, abs=0.02)
    bound = convolutions.kept_products(ALEXNET, profiles) / 256
    assert 0.9 <= bound / cambricon <= 1.0


def test_eie_small_layer():
    """Regression of 5.10 on NT-We; the layer's densities are from memory."""
    layer = next(x for x in EIE_LAYERS if x.name == "NT-We")
    op = products.eie_profile(layer, np.random.default_rng(0))
    machine = accelerators.create("eie")
    even = float(jax.jit(machine.theoretical_cycles)(op)) / 800
    actual = float(machine.cycles(op)) / 800
    assert even == pytest.approx(layer.theoretical_us, rel=0.1)
    assert actual == pytest.approx(layer.actual_us, rel=0.3)
    assert actual > even
