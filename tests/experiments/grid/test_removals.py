import json

import pytest

from experiments import channel_removal
from experiments.grid.launch import main
from experiments.grid.records import CellRecords

TINY = [
    *("--preset", "demo", "--pretrain.epochs", "1", "--channels.epochs", "1"),
    *("--penalties.epochs", "1", "--channels.timing-runs", "1"),
    *("--model.options", "hidden=16,8", "--data.batch-size", "128"),
]
CELLS = [
    *("baseline", "control", "l2", "same_widths", "narrower"),
    *("pruned", "l2_transformed_l1_a1_0.01", "control_transformed_l1_a1_0.01"),
    "pruned_transformed_l1_a1_0.01",
]


def _main(out, *more):
    argv = ["--dir", str(out), *TINY, *more]
    return main("channel_removal", channel_removal.PRESETS, doc="", argv=argv)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("removals")
    assert _main(out, "--removals", "l2") == 0
    return out


@pytest.mark.slow
def test_a_row_for_every_removal_and_control(finished):
    lines = (finished / "table.jsonl").read_text().splitlines()
    rows = {row["cell"]: row for row in map(json.loads, lines)}
    assert list(rows) == CELLS

    def mean(cell, name):
        return rows[cell][name]["mean"]

    assert mean("baseline", "multiplications") == mean("baseline", "parameters") == 1
    assert mean("baseline", "beyond_relu") == 0
    assert 0.4 < mean("l2", "multiplications") <= 0.5
    assert mean("same_widths", "multiplications") == mean("l2", "multiplications")
    assert 0.3 < mean("narrower", "multiplications") <= mean("l2", "multiplications")
    assert mean("pruned", "multiplications") == 1
    assert mean("pruned", "beyond_relu") > 0.3
    assert mean(CELLS[6], "multiplications") == mean("l2", "multiplications")
    kept = {
        record["cell"]: record["kept"]
        for record in CellRecords(finished / "cells.jsonl").all()
    }
    assert kept["same_widths"] == kept["l2"]
    assert kept["pruned"] is None
    first, second = kept["narrower"].values()
    assert abs(first / 16 - second / 8) < 1 / 8


@pytest.mark.slow
def test_removals_are_added_to_a_finished_comparison(finished):
    before = (finished / "cells.jsonl").read_text()
    assert _main(finished, "--removals", "l2", "taylor batches=2") == 0
    added = (finished / "cells.jsonl").read_text().removeprefix(before)
    assert [json.loads(line)["cell"] for line in added.splitlines()] == [
        "taylor_batches=2"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--removals",), "--removals is empty"),
        (("--removals", "l3"), "--removals: 'l3': "),
        (("--removals", "l2", "l2"), "names 'l2' more than once"),
        (("--removals", "l2 solvers=exact"), "got ['solvers']"),
        (("--removals", "l2 budget=2"), "--removals: 'l2 budget=2': "),
        (("--channels.steps", "2"), "--channels.steps must be 1"),
        (("--penalties.grid", "l9 strength=1"), "--penalties: "),
    ],
)
def test_bad_options_are_refused_before_data_is_read(arguments, message, refused):
    refused(_main, arguments, message, before="dst_jax.data.load", status=2)
