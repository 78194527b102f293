"""What sparse designs do besides useful products, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.accelerators import energies
from dst_jax.cost import accelerators
from dst_jax.cost.counting.op_profile import Geometry, OpProfile

MACHINES = {
    "dense": {"rows": 4, "columns": 4},
    "tensor_core_2_4": {"rows": 4, "columns": 4},
    "eyeriss_v1": {},
    "eyeriss_v2": {"pes": 1, "pass_filters": 8},
    "cnvlutin": {"units": 2, "unit_filters": 4},
    "cambricon_x": {},
    "scnn": {},
    "sparten": {"chunk": 16},
    "dstc": {"tile": 8, "rows": 2, "columns": 4},
    "eie": {"pes": 4},
}
RNG = np.random.default_rng(0)
X, W = RNG.random((6, 32)) < 0.5, RNG.random((32, 20)) < 0.5
W[2::4] = W[3::4] = False  # 2:4 along inputs


@pytest.fixture(scope="module")
def works():
    """The work of all machines on one product, compiled together."""
    op = OpProfile(*map(jnp.asarray, (X, W)), jnp.ones((6, 20), bool), Geometry())
    machines = {k: accelerators.create(k, **v) for k, v in MACHINES.items()}
    found = jax.jit(lambda op: {k: m.work(m.measure(op)) for k, m in machines.items()})
    return jax.device_get(found(op))


DENSE, BY_WEIGHT = 6 * 32 * 20, 6 * int(W.sum())
BY_ACTIVATION = 20 * int(X.sum())
EFFECTUAL = int((X.astype(int) @ W.astype(int)).sum())


def chunks(line: np.ndarray, size: int) -> list[int]:
    return [int(line[i : i + size].sum()) for i in range(0, len(line), size)]


@pytest.mark.slow
def test_slots(works):
    """All cycles of all multipliers, but for outer products: those of instructions."""
    for name, options in MACHINES.items():
        machine, work = accelerators.create(name, **options), works[name]
        slots = float(work.cycles) * float(machine.multipliers)
        if name == "dstc":
            down = [sum(-(-n // 2) for n in chunks(X[:, k], 8)) for k in range(32)]
            right = [sum(-(-n // 4) for n in chunks(W[k], 8)) for k in range(32)]
            slots = 8 * int(np.dot(down, right))
        assert float(work.slots) == pytest.approx(slots)
        assert float(work.slots) >= float(work.executed + work.gated) - 0.5


@pytest.mark.slow
def test_partial_sums(works):
    found = {
        name: (work.psum_accesses, work.accumulator_accesses)
        for name, work in works.items()
    }
    assert found["dense"] == (0, 2 * DENSE / 16)
    assert found["tensor_core_2_4"] == (0, DENSE / 16)
    assert found["dstc"] == (0, 2 * EFFECTUAL)
    assert found["scnn"] == (2 * EFFECTUAL * 24 / 16, 0)
    assert found["cnvlutin"] == (2 * BY_ACTIVATION / 16, 0)
    assert found["cambricon_x"] == (2 * BY_WEIGHT / 16, 0)
    for name in ("eyeriss_v1", "eyeriss_v2", "sparten", "eie"):
        assert found[name] == (None, 0)  # two for each product


@pytest.mark.slow
def test_positions_and_crossbars(works):
    bits = {name: float(work.metadata_bits) for name, work in works.items()}
    assert bits["dense"] == bits["eyeriss_v1"] == 0
    assert bits["tensor_core_2_4"] == DENSE / 2 * 2
    assert bits["cambricon_x"] == DENSE
    assert bits["sparten"] == 2 * 6 * 20 * 32
    assert bits["dstc"] == 32 * 1 * 3 * 16  # both masks of each pair of tiles
    visits = int(X.sum()) * 3  # passes of 8 filters
    assert bits["eyeriss_v2"] == 4 * EFFECTUAL + visits * (4 + 2 * 7)
    assert float(works["eyeriss_v2"].activation_accesses) == visits
    assert bits["eie"] == 4 * float(works["eie"].executed)
    assert float(works["eie"].activation_accesses) == 2 * 4 * int(X.sum())
    routed = {name: float(work.crossbar_bits) for name, work in works.items()}
    assert {k: v for k, v in routed.items() if v} == {
        "scnn": 24 * EFFECTUAL,
        "cambricon_x": 16 * BY_WEIGHT,
    }


def test_scnn_discards_products_outside_of_the_output():
    plane = Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1))
    x = RNG.random((2, 6, 6, 3)) < 0.6
    w = RNG.random((3, 3, 3, 5)) < 0.6
    op = OpProfile(*map(jnp.asarray, (x, w)), jnp.ones((2, 6, 6, 5), bool), plane)
    machine = accelerators.create("scnn", pe_rows=2, pe_columns=2)
    work = jax.jit(lambda op: machine.work(machine.measure(op)))(op)
    computed = int((x.sum((0, 1, 2)) * w.sum((0, 1, 3))).sum())
    assert float(work.executed) == int(op.counts.effectual)
    assert float(work.discarded) == computed - int(op.counts.effectual) > 0


@pytest.mark.slow
def test_published_energies_of_tensor_cores():
    """Within a quarter; useful products alone are 50 to 60 % too kind to dstc."""
    rows = list(energies.tensor_rows(densities=(1.0,)))
    assert [row.design for row in rows] == ["dense", *["tensor_core_2_4"] * 2, "dstc"]
    assert all(abs(row.error) <= 0.25 for row in rows)
    dense, *_, dstc = rows
    published = dstc.published / dense.published
    assert dstc.before / dense.before < 0.5 * published
    assert dstc.model / dense.model == pytest.approx(published, rel=0.25)
