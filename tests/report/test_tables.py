import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dst_jax.report.load import load
from dst_jax.report.tables import (
    main_results,
    per_layer,
    run_facts,
    stage_costs,
)
from dst_jax.report.tables.channels import kernel_shapes
from dst_jax.report.tables.table import Table, csv_text, number, percent, signed
from dst_jax.report.terminal import print_runs, render


def row(table, name):
    (found,) = [cells for cells in table.rows if cells[0] == name]
    return found[1:]


def test_the_main_table_has_the_numbers_of_every_stage(make_run):
    table = main_results.stages(load(make_run()))
    assert [cells[0] for cells in table.rows] == [
        "dense baseline",
        "dense control",
        "pruned",
        "dual sparse",
    ]
    assert row(table, "dense baseline") == (
        *("90.00", "-", "99.00", "0.00"),
        *("30.00", "37.50", "30.00", "22.22"),
    )
    assert row(table, "dual sparse") == (
        *("90.50", "+0.50", "99.00", "60.00"),
        *("76.00", "77.50", "59.00", "54.44"),
    )


def test_headings_say_which_convention(make_run):
    table = main_results.stages(load(make_run()))
    text = " ".join(table.headings)
    for convention in ("element", "layer mean", "of dense", "of valid"):
        assert convention in text
        assert convention in table.note.lower()


def test_without_a_baseline_there_is_no_difference(make_run):
    table = main_results.stages(load(make_run(stages=("sparsify_weights",))))
    assert row(table, "pruned")[1] == "-"


def test_drift_leaves_out_the_baseline(make_run):
    table = stage_costs.drift(load(make_run()))
    assert row(table, "pruned") == ("1.250", "0.9600")
    assert "dense baseline" not in {cells[0] for cells in table.rows}


def test_stage_costs(make_run):
    table = stage_costs.costs(load(make_run()))
    assert row(table, "pruned") == (
        *("sparsify_weights", "4", "1 min 15 s", "512", "1.30"),
        *("86.00", "98.00", "10"),
    )
    assert row(table, "dense baseline")[3:5] == ("-", "-")


def test_the_note_says_whether_there_was_a_hold_out(make_run):
    assert "No hold-out" not in stage_costs.costs(load(make_run("a"))).note
    without = stage_costs.costs(load(make_run("b", holdout=False)))
    assert "No hold-out" in without.note
    assert row(without, "pruned")[5:7] == ("-", "-")


def test_facts(make_run):
    table = run_facts.facts(load(make_run(seed=3)))
    assert row(table, "seed") == ("3",)
    assert row(table, "versions") == ("jax 0.10.2, flax 0.12.8",)
    assert row(table, "git revision") == ("0123abcd (with uncommitted changes)",)
    assert row(table, "SHA-256 of the parameters") == ("ab" * 32,)


def test_facts_that_were_not_recorded_are_dashes(make_run):
    path = make_run(summary=False)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({"stages": config["stages"]}))
    values = {cells[1] for cells in run_facts.facts(load(path)).rows}
    assert values == {"-"}


def test_settings_are_flat(make_run):
    table = run_facts.settings(load(make_run()))
    assert row(table, "model.name") == ("lenet5",)


def test_maps_and_kernels_have_a_column_per_stage(make_run):
    results = load(make_run())
    assert row(per_layer.maps(results), "relu1") == (
        *("40", "25.00", "27.50"),
        *("22.50", "75.00"),
    )
    assert row(per_layer.kernels(results), "fc/kernel") == (
        *("150", "0.00", "0.00"),
        *("73.33", "73.33"),
    )


def test_a_layer_that_a_stage_does_not_have_is_a_dash(make_run):
    path = make_run(stages=("pretrain", "sparsify_weights"))
    file = path / "stages/sparsify_weights.json"
    record = json.loads(file.read_text())
    del record["layers"]["activations"]["relu2"]
    file.write_text(json.dumps(record))
    assert row(per_layer.maps(load(path)), "relu2") == ("10", "50.00", "-")


def _made_smaller(path):
    """The last stage's kernels, maps and channels are half as many."""
    file = path / "stages/sparsify_activations.json"
    record = json.loads(file.read_text())
    plan = {"groups": {"conv1": {"size": 8}}, "kept": {"conv1": [0, 1, 2, 3]}}
    record["network"] = {
        "plans": [plan],
        "shapes": {"params/conv1/kernel": [5, 5, 1, 4], "params/fc/kernel": [75, 1]},
    }
    for part in ("activations", "weights"):
        for layer in record["layers"][part].values():
            layer["elements"] //= 2
            layer["zeros"] //= 2
    file.write_text(json.dumps(record))
    file = path / "stages/pretrain.json"
    record = json.loads(file.read_text())
    record["network"] = {"shapes": {"params/conv1/kernel": [5, 5, 1, 8]}}
    file.write_text(json.dumps(record))
    return load(path)


def test_layers_made_smaller_have_their_sizes_before_and_after(make_run):
    results = _made_smaller(make_run())
    table = per_layer.kernels(results)
    assert table.headings[1:3] == ("weights, dense baseline", "weights, dual sparse")
    assert row(table, "fc/kernel")[:2] == ("150", "75")
    assert row(table, "fc/kernel")[-1] == "73.33"
    table = per_layer.maps(results)
    assert table.headings[2] == "elements / image, dual sparse"
    assert row(table, "relu1")[:2] == ("40", "20")


def test_channels_per_layer_are_shapes_of_kernels(make_run):
    table = kernel_shapes(_made_smaller(make_run()))
    assert table.headings == ("layer", "whole", "dual sparse")
    assert row(table, "conv1/kernel") == ("5 x 5 x 1 x 8", "5 x 5 x 1 x 4")
    assert row(table, "fc/kernel") == ("-", "75 x 1")
    assert kernel_shapes(load(make_run("whole"))).rows == ()


def test_the_note_of_the_stages_has_the_time_of_all(make_run):
    assert "Training took 5 min 00 s in all" in stage_costs.costs(load(make_run())).note


def test_csv_has_whole_rows_and_plain_numbers():
    rows = (("a, b", "1,234,567", "-"), ("", "12.5", "2 of 8"))
    table = Table("T", ("run", "x", "y"), rows)
    assert csv_text(table) == 'run,x,y\n"a, b",1234567,\n"a, b",12.5,2 of 8\n'


def test_products_per_layer_add_up_to_the_drop(make_run):
    stage = load(make_run()).stages[-1]
    table = per_layer.products(stage)
    assert row(table, "fc") == ("400", "100.00", "10.00", "25.00", "2.50", "10")
    assert row(table, "all layers")[4] == percent(1 - stage.drop_dense)


@given(st.floats(0, 1))
def test_percent_is_within_half_a_hundredth(share):
    assert float(percent(share)) == pytest.approx(100 * share, abs=0.005000001)


@given(st.floats(-1, 1))
def test_a_difference_always_has_a_sign(share):
    assert signed(share)[0] in "+-"


@given(st.integers(0, 10**15))
def test_large_counts_are_exact(count):
    assert int(number(count).replace(",", "")) == count


@pytest.mark.parametrize("width", [20, 80, 200])
def test_the_terminal_shows_every_number_at_any_width(make_run, width):
    results = load(make_run())
    console = Console(width=width)
    with console.capture() as captured:
        print_runs([results], console)
    text = captured.get()
    for cells in (
        *main_results.stages(results).rows,
        *stage_costs.drift(results).rows,
    ):
        assert all(cell in text for cell in cells[1:])


def test_the_main_table_fits_a_terminal_of_80_columns(make_run):
    console = Console(width=80)
    with console.capture() as captured:
        print_runs([load(make_run())], console)
    assert max(map(len, captured.get().splitlines())) <= 80
    assert "dense baseline 90.00" in captured.get()


def test_the_terminal_does_not_read_markup():
    table = Table("[red]title", ("[b]a", "b"), (("[link=x]y[/link]", "[/]"),))
    console = Console(width=80)
    with console.capture() as captured:
        console.print(render(table))
    assert "[link=x]y[/link]" in captured.get()
    assert "[b]a" in captured.get()


def test_the_terminal_marks_an_unfinished_run(make_run):
    console = Console(width=200)
    with console.capture() as captured:
        print_runs([load(make_run(finished=1))], console)
    assert "Unfinished: stages/control.json" in captured.get()
