"""Presets: names, sources, bad input, what runs dense, and the invariants of T11."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.cost import accelerators
from dst_jax.cost.accelerators.base import dense_bits
from dst_jax.cost.accelerators.work import Work
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.counting.synthetic import output_shape
from dst_jax.cost.estimates import energy

PRESETS = accelerators.names()
PLANE = Geometry((2, 1), ((1, 1), (0, 1)), (1, 1), (1, 1), groups=2)
SHAPES = {
    "conv": (PLANE, (2, 8, 6, 48), (3, 2, 24, 20)),
    "product": (Geometry(), (3, 40), (40, 70)),
}


def draw(name: str, seed: int, densities=(0.5, 0.5)) -> OpProfile:
    geometry, activation, weight = SHAPES[name]
    rng = np.random.default_rng(seed)
    return OpProfile(
        activation=jnp.asarray(rng.random(activation) < densities[0]),
        weight=jnp.asarray(rng.random(weight) < densities[1]),
        output=jnp.ones(output_shape(geometry, activation, weight), bool),
        geometry=geometry,
    )


@jax.jit
def run(machine, op):
    measured = machine.measure(op)
    return machine.work(measured), measured.macs


@jax.jit
def storage(machine, op):
    return machine.storage(op)


def mode(machine, op) -> str:
    return jax.eval_shape(machine.measure, op).mode


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unregistered(accelerators.Accelerator):
    """Not registered with JAX by its author."""

    clock: float = 1e9
    lanes: int = 4

    @property
    def multipliers(self):
        return self.lanes

    def reduce(self, profile):
        return ()

    def sparse_work(self, measured):
        cycles = measured.macs.effectual / self.lanes
        return Work(cycles, measured.macs.effectual, jnp.float32(0), 1, 1)

    def storage(self, profile):
        return dense_bits(profile, self.value_bits)


def test_a_subclass_is_a_pytree_of_its_numbers():
    op, fast, slow = draw("product", 0), Unregistered(lanes=8), Unregistered()
    assert fast.cycles(op) * 2 == slow.cycles(op) > 0
    lanes = jax.tree.map(lambda *x: jnp.array(x), slow, fast)
    cycles = jax.vmap(lambda design: design.cycles(op))(lanes)
    np.testing.assert_array_equal(cycles, [slow.cycles(op), fast.cycles(op)])
    assert dataclasses.replace(slow, lanes=2).multipliers == 2

    class Undecorated(Unregistered):
        lanes: int = 16

    with pytest.raises(TypeError, match="Undecorated has fields of its own, so it mu"):
        Undecorated()


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"must be one of .*'scnn'.*, got 'tpu'"):
        accelerators.create("tpu")
    with pytest.raises(ValueError, match=r"\['lanes'\]; it has .*'kappa'"):
        accelerators.create("scnn", lanes=4)
    with pytest.raises(ValueError, match=r"energy table must be one of"):
        accelerators.create("scnn", energy="free")


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("kappa", 0.0, ValueError),
        ("kappa", jnp.array([1.0, -1.0]), ValueError),
        ("activation_lanes", 4.0, TypeError),
        ("pe_rows", 0, ValueError),
        ("clock", float("nan"), ValueError),
    ],
)
def test_numbers_out_of_range(field, value, error):
    with pytest.raises(error, match=rf"scnn\.{field} (must be|is counted)"):
        accelerators.create("scnn", **{field: value})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_number_has_a_source(preset):
    found = accelerators.sources(preset)
    assert set(found) == {
        f.name for f in dataclasses.fields(accelerators.create(preset))
    }
    assert all(row.source for row in found.values())
    assert {row.status for row in found.values()} <= {"read", "memory", "assumed"}
    assert found["energy"].value == "accelergy45_eyeriss"


def test_accelerators_are_frozen_pytrees():
    """Static fields are no leaves; any tree of the structure can be built."""
    machine = accelerators.create("scnn", energy="horowitz45")
    assert machine.energy == energy.create("horowitz45")
    with pytest.raises(dataclasses.FrozenInstanceError):
        machine.kappa = 2.0
    assert jax.tree.map(lambda _: None, machine).pe_rows == 8
    assert jax.tree.structure(machine) != jax.tree.structure(
        accelerators.create("scnn", pe_rows=4)
    )


def test_what_runs_dense():
    """The mode says so, and why."""
    first = dataclasses.replace(
        draw("conv", 0),
        activation=jnp.ones((2, 8, 6, 6), bool),
        weight=jnp.ones((3, 2, 3, 20), bool),
    )
    attention = draw("product", 0)
    attention = dataclasses.replace(
        attention, geometry=dataclasses.replace(attention.geometry, dynamic=True)
    )
    assert mode(accelerators.create("cnvlutin"), first).startswith(
        "dense: fewer than 16"
    )
    assert mode(accelerators.create("eie"), draw("conv", 0)) == "dense: no convolutions"
    assert mode(accelerators.create("eie"), draw("product", 0)) == "sparse"
    prepared = {
        p for p in PRESETS if mode(accelerators.create(p), attention) != "sparse"
    }
    assert prepared == {
        "eyeriss_v2",
        "cambricon_x",
        "scnn",
        "sparten",
        "tensor_core_2_4",
        "eie",
        "hopper_2_4",
        "blackwell_2_4",
        "highlight",
        "loihi",
    }


def test_depthwise_on_eyeriss_v2_skips_nothing():
    geometry = Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), groups=24)
    op = OpProfile(
        activation=jnp.zeros((1, 6, 6, 24), bool),
        weight=jnp.zeros((3, 3, 1, 24), bool),
        output=jnp.ones((1, 6, 6, 24), bool),
        geometry=geometry,
    )
    machine = accelerators.create("eyeriss_v2", pes=16, simd=2)
    assert mode(machine, op) == "dense: depthwise"
    work, _ = run(machine, op)
    assert int(work.cycles) == 36 * 9 * 24 / 16
    assert int(work.executed) == 36 * 9 * 24


def axes(n: int) -> OpProfile:
    """A convolution with so many spatial axes."""
    geometry = Geometry((2,) * n, ((1, 0),) * n, (1,) * n, (1,) * n)
    rng = np.random.default_rng(n)
    shapes = (1, *(5,) * n, 16), (*(2,) * n, 16, 8)
    masks = [jnp.asarray(rng.random(shape) < 0.5) for shape in shapes]
    output = jnp.ones(output_shape(geometry, *shapes), bool)
    return OpProfile(*masks, output, geometry)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3])
def test_any_number_of_spatial_axes(n):
    """One element that skips zeros takes the effectual products; others trace."""
    op = axes(n)
    element = accelerators.create("eyeriss_v2", pes=1, simd=1)
    assert int(element.cycles(op)) == int(op.counts.effectual)
    for preset in ("cnvlutin", "sparten", "dstc"):
        assert jax.eval_shape(accelerators.create(preset).cycles, op).shape == ()


def test_scnn_has_at_most_two_axes():
    machine = accelerators.create("scnn")
    line = axes(1)
    flat = OpProfile(
        activation=line.activation[:, None],
        weight=line.weight[None],
        output=line.output[:, None],
        geometry=Geometry((1, 2), ((0, 0), (1, 0)), (1, 1), (1, 1)),
    )
    assert float(machine.cycles(line)) == float(machine.cycles(flat))
    with pytest.raises(ValueError, match="at most 2 spatial axes, got 3"):
        machine.cycles(axes(3))


CASES = list(itertools.product(PRESETS, SHAPES))


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "name"), CASES)
def test_invariants(preset, name):
    """T11: no faster than all multipliers on what is left; no emptier than empty."""
    machine = accelerators.create(preset)
    for seed, densities in enumerate([(1, 1), (0.5, 0.3), (0.1, 0.8), (0, 0)]):
        op = draw(name, seed, densities)
        work, macs = run(machine, op)
        slots = float(work.cycles) * float(machine.multipliers)
        assert slots >= float(work.executed) - 0.5
        assert float(work.executed) >= float(macs.effectual)
        assert macs.effectual <= macs.by_activation <= macs.valid <= macs.dense
        assert macs.effectual <= macs.by_weight <= macs.valid


def joules(work: Work) -> float:
    """Energy of the multipliers and of what is next to them."""
    spent = work.executed + work.gated + work.discarded
    actions = energy.Actions(
        work.executed,
        work.gated,
        *(0.0, 0.0, 0.0),
        jnp.maximum(work.slots - spent, 0),
        *(getattr(work, name) for name in energy.Actions._fields[6:]),
    )
    return float(energy.split(energy.create("accelergy45_eyeriss"), actions).total)


MONOTONE = [p for p in PRESETS if p != "sparten"]  # it pairs filters anew


@pytest.mark.slow
@pytest.mark.parametrize("preset", MONOTONE)
def test_more_nonzeros_take_no_less(preset):
    """T11: cycles, bits and energy grow with the masks."""
    machine = accelerators.create(preset)
    for seed in range(3):
        few, more = draw("product", seed, (0.3, 0.3)), draw("product", seed, (0.6, 0.7))
        # The same seed draws the same numbers: `more` contains `few`.
        assert not bool((few.weight & ~more.weight).any())
        (least, _), (most, _) = run(machine, few), run(machine, more)
        assert least.cycles <= most.cycles
        assert joules(least) <= joules(most)
        bits = storage(machine, few), storage(machine, more)
        assert all(a <= b for a, b in zip(*bits, strict=True))


def test_fitting_groups_counts_groups_with_the_pattern():
    machine = accelerators.create("tensor_core_2_4")
    weight = jnp.zeros((8, 2), bool).at[:3, 0].set(True)
    op = OpProfile(jnp.ones((1, 8), bool), weight, jnp.ones((1, 2), bool), Geometry())
    assert float(machine.fitting_groups(op)) == 0.75


def _tensor_core_op(channels, groups, *, zeros=0):
    """A 3x3 convolution of 14x14 maps, with zeros in every group of 4 channels."""
    each = channels // groups
    weight = jnp.ones((3, 3, each, 32), bool)
    for i in range(zeros):
        weight = weight.at[:, :, i::4].set(False)
    maps = (jnp.ones((1, 14, 14, c), bool) for c in (channels, 32))
    pads, ones = ((1, 1), (1, 1)), (1, 1)
    geometry = Geometry(ones, pads, ones, ones, groups)
    activation, output = maps
    return OpProfile(activation, weight, output, geometry)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "groups"),
    [(32, 32), (64, 32), (32, 16), (1, 1), (2, 1), (6, 1), (8, 2)],
)
def test_dense_weights_are_not_2_4_because_padding_is_zero(channels, groups):
    machine, dense = map(accelerators.create, ("tensor_core_2_4", "dense"))
    op = _tensor_core_op(channels, groups)
    work, macs = run(machine, op)
    assert float(work.cycles) == float(run(dense, op)[0].cycles)
    assert float(work.executed) == float(macs.dense)
    assert float(storage(machine, op).weight) == 16 * op.weight.size
    assert float(machine.fitting_groups(op)) == 0.0


def test_cycles_of_depthwise_and_narrow_layers():
    machine = accelerators.create("tensor_core_2_4")
    assert float(machine.cycles(_tensor_core_op(32, 32))) == 2016
    dense = Geometry()
    for k in (1, 2):
        masks = (jnp.ones(shape, bool) for shape in ((64, k), (k, 32), (64, 32)))
        assert float(machine.cycles(OpProfile(*masks, dense))) == 2 * k


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "zeros", "slots"),
    [(3, 1, 2), (4, 2, 2), (6, 2, 4), (7, 2, 4), (8, 2, 4)],
)
def test_padding_takes_slots_of_the_pattern(channels, zeros, slots):
    machine = accelerators.create("tensor_core_2_4")
    op = _tensor_core_op(channels, 1, zeros=zeros)
    tiles = 7 * 9  # of positions, and taps
    assert float(machine.cycles(op)) == tiles * slots
    assert float(machine.storage(op).weight) == 9 * 32 * slots * (16 + 2)
    assert float(machine.fitting_groups(op)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 2])
def test_tensor_cores_take_either_side(groups):
    """Half of the cycles where the activations are 2:4, and no less where both are."""
    machine = accelerators.create("tensor_core_2_4")
    dense = _tensor_core_op(16, groups)
    sparse = _tensor_core_op(16, groups, zeros=2)
    map_2_4 = jnp.zeros(dense.activation.shape, bool).at[..., ::2].set(True)
    scattered = map_2_4.at[0, 3, 5, 4:7].set(True)  # a single group of four has three
    half = float(machine.cycles(dense)) / 2
    for op in (dense, sparse)[: 3 - groups]:
        found = dataclasses.replace(op, activation=map_2_4)
        assert float(machine.cycles(found)) == half
        bits, full = storage(machine, found), 16 * map_2_4.size
        assert float(bits.activation) == full / 2 / 16 * (16 + 2)
        weights_only = accelerators.create("tensor_core_2_4", either_side=False)
        cycles = half if op is sparse else 2 * half
        assert float(weights_only.cycles(found)) == cycles
    broken = dataclasses.replace(dense, activation=scattered)
    assert float(machine.cycles(broken)) == 2 * half
    assert float(storage(machine, broken).activation) == full
