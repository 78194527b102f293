import dataclasses

import pytest

from dst_jax.cost.estimates import energy


@pytest.mark.parametrize("name", energy.names())
def test_tables_carry_their_name_and_source(name):
    table = energy.create(name)
    assert table.name == name
    assert table.source
    assert table.unit in ("pJ", "MAC")


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"one of .*'horowitz45'.*, got 'cmos'"):
        energy.create("cmos")
    with pytest.raises(ValueError, match=r"no \['sram'\]; it has .*'buffer'"):
        energy.create("horowitz45", sram=1.0)


def test_split_by_part():
    """Every part by hand, and nothing but the parts in the total."""
    table = energy.EnergyTable(
        mac=2.0,
        gated=0.5,
        activation_spad=1.0,
        weight_spad=3.0,
        psum_spad=5.0,
        buffer=0.1,
        dram=10.0,
        static_power=2.0,
        name="test",
        source="none",
    )
    parts = energy.split(table, energy.Actions(10, 4, 100, 7, 3e-12))
    assert parts == energy.Energy(
        mac=20.0,
        gated=2.0,
        scratchpad=10 * (1 + 3 + 2 * 5.0),
        buffer=pytest.approx(10.0),
        dram=70.0,
        static=pytest.approx(6.0),
    )
    assert parts.total == pytest.approx(sum(parts))


def test_published_numbers():
    """Pins what the sources print: a bit of DRAM, a word of the buffer."""
    horowitz = energy.create("horowitz45")
    assert 1300 <= 64 * horowitz.dram <= 2600
    assert 64 * horowitz.buffer == 10
    relative = energy.create("eyeriss_rel")
    word = dataclasses.replace(relative, mac=0.0)
    parts = energy.split(word, energy.Actions(0, 0, 16, 16, 0.0))
    assert (parts.buffer, parts.dram) == (6, 200)
    accelergy = energy.create("accelergy45_eyeriss")
    assert 64 * accelergy.dram == 512
    assert 37.16 <= 64 * accelergy.buffer <= 49.17


ACTIONS = {
    "idle": "idle",
    "discarded": "mac",
    "activation_accesses": "activation_spad",
    "weight_accesses": "weight_spad",
    "psum_accesses": "psum_spad",
    "accumulator_accesses": "accumulator",
    "metadata_bits": "metadata",
    "crossbar_bits": "crossbar",
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_a_number_of_the_table(action):
    """Linear in the action and in its number, and nothing else changes."""
    number = ACTIONS[action]
    base = energy.Actions(0, 0, 0, 0, 0)
    for table in (energy.create("accelergy45_eyeriss"), energy.create("eyeriss_rel")):
        one, two = (energy.split(table, base._replace(**{action: n})) for n in (1, 2))
        assert one.total == pytest.approx(getattr(table, number))
        assert two.total == pytest.approx(2 * one.total)
        dear = dataclasses.replace(table, **{number: 10.0})
        assert energy.split(dear, base._replace(**{action: 3})).total == 30


@pytest.mark.parametrize("name", energy.names())
def test_every_number_of_a_table_has_a_source(name):
    found, table = energy.sources(name), energy.create(name)
    for field, number in found.items():
        assert getattr(table, field) == number.value >= 0
        assert number.source
        assert number.status in ("read", "memory", "assumed")
    with pytest.raises(ValueError, match="energy table must be one of"):
        energy.sources("cmos")


def test_int8_tables_hold_what_the_artifact_prints():
    element = energy.create("eyeriss_v2_int8")
    assert (element.mac, element.weight_spad) == (0.5608, 0.47678)
    assert 8 * element.metadata == pytest.approx(0.88442)
    core = energy.create("accelergy45_int8")
    assert 1.65889 <= core.accumulator <= 1.67589
    assert 285.7 <= 512 * core.buffer <= 317.0
