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
