"""What the report makes of accelerators/NAME.json."""

import pytest

from dst_jax import report
from dst_jax.report.figures import rooflines
from dst_jax.report.tables import accelerator_estimates
from dst_jax.runs import Run

STAGES = ("pretrain", "sparsify_weights", "sparsify_activations")
CYCLES = {"pretrain": 400.0, "sparsify_weights": 200.0, "sparsify_activations": 100.0}


def _operation(cycles, bound="compute"):
    return {
        "mode": "sparse",
        "bound": bound,
        "cycles": {
            "compute": cycles,
            "dram": cycles / 2,
            "sram": 0.0,
            "total": cycles,
        },
        "seconds": cycles * 1e-9,
        "utilisation": 0.5,
        "effectual_per_cycle": 4.0,
        "macs": {
            "dense": 1000.0,
            "valid": 900.0,
            "by_activation": 500.0,
            "by_weight": 500.0,
            "effectual": 4 * cycles,
        },
        "bits": {"activation": 80.0, "weight": 80.0, "output": 80.0},
        "dram_bits": 8192.0,
        "sram_bits": 8192.0,
        "energy": {
            "mac": cycles * 1e4,
            "gated": 0.0,
            "scratchpad": 0.0,
            "buffer": 0.0,
            "dram": 1e6,
            "static": 0.0,
        },
    }


def _record(cycles, unit="pJ"):
    machine = {
        "energy_table": "horowitz45",
        "energy_unit": unit,
        "clock": 1e9,
        "multipliers": 16.0,
        "dram_bytes_per_cycle": 2.0,
        "total": _operation(cycles),
        "layers": {
            "conv1": _operation(cycles * 0.75),
            "fc": _operation(cycles * 0.25, bound="dram"),
        },
    }
    return {"examples": 8, "machines": {"scnn": machine, "dense": machine}}


@pytest.fixture
def a_run(make_run):
    return make_run(stages=STAGES)


@pytest.fixture
def estimated(a_run):
    run = Run(a_run)
    for name, cycles in CYCLES.items():
        run.write_accelerators(name, _record(cycles))
    return report.load(a_run)


def test_the_table_compares_with_the_first_stage_of_the_same_accelerator(estimated):
    table = accelerator_estimates.on_accelerators(estimated)
    rows = [row for row in table.rows if row[0] == "scnn" or row[0] == ""][:3]
    assert [row[1] for row in rows] == ["dense baseline", "pruned", "dual sparse"]
    assert [row[2] for row in rows] == ["400", "200", "100"]
    assert [row[3] for row in rows] == ["1.00", "2.00", "4.00"]
    assert [row[4] for row in rows] == ["4.0"] * 3
    assert [row[6] for row in rows] == ["1.0"] * 3  # 8192 bits are a kilobyte
    assert [row[7] for row in rows] == ["5.00 uJ", "3.00 uJ", "2.00 uJ"]
    assert [row[8] for row in rows] == ["0.00", "40.00", "60.00"]
    assert "8 test images" in table.note
    assert "horowitz45" in table.note


def test_layers_say_what_sets_their_time(estimated):
    table = accelerator_estimates.cycles_per_layer(estimated, "scnn")
    assert table.rows[0] == (
        "conv1",
        "sparse",
        *(f"{c} (compute)" for c in (300, 150, 75)),
    )
    assert table.rows[1][2:] == ("100 (dram)", "50 (dram)", "25 (dram)")


def test_the_page_shows_them(estimated):
    page = report.write(estimated.path)
    text = page.read_text()
    for words in ("On modelled accelerators", "Rooflines", "Cycles per layer on scnn"):
        assert words in text
    for name in ("rooflines", "speed_up", "energy_by_part"):
        assert (estimated.path / "figures" / f"{name}.png").stat().st_size > 5000


def test_dots_are_under_their_accelerators_roof(estimated):
    figure = rooflines.draw(estimated)
    panel = figure.axes[0]
    assert panel.get_title(loc="left") == "scnn"
    dots = panel.collections[0].get_offsets()
    # conv1: 1200 useful products in 300 cycles over 1024 bytes.
    assert dots[0].tolist() == pytest.approx([1200 / 1024, 4.0])
    roof = panel.lines[0].get_xydata()
    assert roof[1].tolist() == [8.0, 16.0]


def test_a_run_without_estimates_has_no_such_section(a_run):
    text = report.write(a_run).read_text()
    assert "On modelled accelerators" not in text


def test_a_broken_estimate_is_named(a_run):
    record = _record(1.0)
    del record["machines"]["scnn"]["multipliers"]
    Run(a_run).write_accelerators("pretrain", record)
    with pytest.raises(ValueError, match=r"accelerators/pretrain.json.*multipliers"):
        report.load(a_run)
