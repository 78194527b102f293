import json
from dataclasses import replace

import pytest

from experiments import channel_removal
from experiments.grid.launch import main
from experiments.grid.records import CellRecords
from experiments.grid.removals.options import PenaltyOptions

TINY = [
    *("--preset", "demo", "--pretrain.epochs", "1", "--channels.epochs", "1"),
    *("--penalties.grid", "--channels.timing-runs", "1"),
    *("--model.options", "hidden=16,8", "--data.batch-size", "128"),
]
CELLS = ["baseline", "control", "l2", "same_widths", "narrower", "pruned"]


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
    kept = {
        record["cell"]: record["kept"]
        for record in CellRecords(finished / "cells.jsonl").all()
    }
    assert kept["same_widths"] == kept["l2"]
    assert kept["pruned"] is None
    first, second = kept["narrower"].values()
    assert abs(first / 16 - second / 8) < 1 / 8


def test_penalties_follow_a_removal_the_control_and_pruning():
    options = replace(
        channel_removal.PRESETS["demo"],
        removals=("umm",),
        penalties=PenaltyOptions(grid=("l1 strength=1,2",), epochs=3),
    )
    cells = options.comparison().cells
    assert [cell.name for cell in cells[:3]] == [*CELLS[:2], "umm"]
    penalised = [(cell.start, cell.name, cell.epochs) for cell in cells[6:]]
    assert penalised == [
        (start, f"{start}_l1_{strength}", 3)
        for start in ("umm", "control", "pruned")
        for strength in (1, 2)
    ]


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


@pytest.mark.slow
def test_relaxations_are_added_with_their_rounds_and_controls(finished):
    text = "fence_sitters thresholds=0.9999, epochs=1 finetune_epochs=1 lr=0.1"
    added = ("--relaxations", text, "--channels.timing-runs", "0")
    assert _main(finished, "--removals", "l2", *added) == 0
    lines = (finished / "table.jsonl").read_text().splitlines()
    left = {
        row["cell"]: row["multiplications"]["mean"] for row in map(json.loads, lines)
    }
    last = next(cell for cell in left if cell.endswith("lr=0.1"))
    assert 1 == left[f"{last}_search1"] > left[last]
    assert left[f"same_widths_{last}"] == left[last] >= left[f"narrower_{last}"]
