import json
import re
import shutil

import pytest

from dst_jax.train import tasks
from experiments import compare_penalties
from experiments.grid import engine, report
from experiments.grid.launch import main
from experiments.grid.penalties import tables
from experiments.grid.penalties.choice import Criterion, choose
from experiments.grid.penalties.settings import Setting, parse
from experiments.grid.records import CellRecords
from experiments.running.quality import quality_of

QUALITY = quality_of(tasks.classification())
ARGUMENTS = [
    *("--data.name", "digits", "--model.name", "mlp", "--data.eval-batch-size"),
    *("120", "--pretrain.epochs", "1", "--cells.epochs", "1", "--seeds", "0"),
    *("--grid", "l1 strength=1e-5,1e-3", "transformed_l1 strength=1e-5 a=0.1,1"),
    "--fatrelu",  # none
]
CELLS = [
    "baseline",
    "control",
    "l1_1e-05",
    "l1_0.001",
    "transformed_l1_a0.1_1e-05",
    "transformed_l1_a1_1e-05",
]


def _main(out, *more):
    argv = ["--dir", str(out), *ARGUMENTS, *more]
    return main("compare_penalties", compare_penalties.PRESETS, doc="", argv=argv)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison")
    steps = []
    original = engine.of_seed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            engine,
            "of_seed",
            lambda context, seed: (
                steps.append(context.compiled) or original(context, seed)
            ),
        )
        assert _main(out) == 0
    return out, steps[0]


@pytest.mark.slow
def test_every_cell_is_on_record_once(finished):
    records = CellRecords(finished[0] / "cells.jsonl").all()
    assert [record["cell"] for record in records] == CELLS
    lines = (finished[0] / "cells.jsonl").read_text().splitlines()
    assert len(lines) == len(CELLS)
    strong, weak = (
        CellRecords(finished[0] / "cells.jsonl").get(name, 0) for name in CELLS[3:1:-1]
    )
    assert (
        strong["activation_sparsity"]["element"]
        > weak["activation_sparsity"]["element"]
    )
    assert records[0]["drift"] is None
    assert all(record["drift"]["euclidean"] > 0 for record in records[1:])


@pytest.mark.slow
def test_a_penalty_compiles_once(finished):
    train_steps = [step for key, step in finished[1].items() if key[0] == "train"]
    # The baseline's optimizer has a step of its own; the cells share one, which is
    # traced for the control and for each penalty.
    assert sorted(step._cache_size() for step in train_steps) == [1, 3]


@pytest.mark.slow
def test_the_test_set_is_read_for_the_chosen_alone(finished):
    tests = CellRecords(finished[0] / "test.jsonl").all()
    names = [test["cell"] for test in tests]
    assert names[:2] == ["baseline", "control"]
    assert [name.rsplit("_", 1)[0].split("_a")[0] for name in names[2:]] == [
        "l1",
        "transformed_l1",
    ]
    assert all(test["layers"]["counts"]["fc1"]["effectual"] > 0 for test in tests)
    text = (finished[0] / "report.md").read_text()
    assert f"{100 * tests[0]['top1']:.2f}" in text
    for name in ("fronts", "curves", "shapes", "shape_curves"):
        assert (finished[0] / "figures" / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_seeds_are_trained_side_by_side_and_tested_together(finished, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    (out / "test.jsonl").rename(tmp_path / "test.jsonl")
    assert _main(out, "--no-test") == 0
    assert not (out / "test.jsonl").exists()
    assert "Test set" not in (out / "report.md").read_text()
    # Another seed, as a second process would add it, then all of them.
    assert _main(out, "--no-test", "--seeds", "1") == 0
    assert _main(out, "--seeds", "0", "1") == 0
    cells = CellRecords(out / "cells.jsonl").all()
    assert [(r["cell"], r["seed"]) for r in cells] == [
        (cell, seed) for seed in (0, 1) for cell in CELLS
    ]
    tests = CellRecords(out / "test.jsonl").all()
    chosen = [test["cell"] for test in tests if test["seed"] == 0]
    assert [(test["cell"], test["seed"]) for test in tests] == [
        (cell, seed) for seed in (0, 1) for cell in chosen
    ]
    report = (out / "report.md").read_text()
    assert "Test set" in report
    assert "| 2 |" in report


@pytest.mark.slow
def test_a_finished_comparison_trains_nothing_and_takes_more_settings(
    finished, monkeypatch
):
    before = (finished[0] / "cells.jsonl").read_text()
    with monkeypatch.context() as patch:
        patch.setattr("dst_jax.train.run_stage", None)  # would fail if it were called
        assert _main(finished[0]) == 0
    assert (finished[0] / "cells.jsonl").read_text() == before
    more = ["--grid", "l1 strength=1e-5,1e-3,1e-4"]
    assert _main(finished[0], *more) == 0
    after = (finished[0] / "cells.jsonl").read_text()
    assert after.startswith(before)
    assert [json.loads(x)["cell"] for x in after[len(before) :].splitlines()] == [
        "l1_0.0001"
    ]


@pytest.mark.slow
def test_given_weights_take_the_place_of_the_baselines_training(finished, tmp_path):
    first = CellRecords(finished[0] / "cells.jsonl").get("baseline", 0)
    given = str(finished[0] / "seed0" / "checkpoints" / "baseline")
    nothing = ("--pretrain.epochs", "0", "--cells.epochs", "0", "--seeds", "7")
    assert _main(tmp_path / "out", "--init.from", given, *nothing) == 0
    again = CellRecords(tmp_path / "out" / "cells.jsonl").get("baseline", 7)
    for quantity in ("top1", "loss", "activation_sparsity"):
        assert again[quantity] == first[quantity]


@pytest.mark.slow
def test_fatrelus_follow_every_training(finished, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    budget = 2.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dst_jax.train.loop.fit", None)  # nothing is trained
        assert _main(out, "--fatrelu", str(budget)) == 0
    records = CellRecords(out / "cells.jsonl")
    for cell in CELLS[1:]:
        before, after = records.get(cell, 0), records.get(f"{cell}_fatrelu2", 0)
        assert after["top1"] >= before["top1"] - budget / 100 - 1e-9
        zeros = [r["activation_sparsity"]["element"] for r in (before, after)]
        assert zeros[0] < zeros[1]
        assert after["drift"] == before["drift"]
    assert records.get("l1_0.001_fatrelu2", 0)["fatrelu"] == budget
    tests = CellRecords(out / "test.jsonl")
    names = [test["cell"] for test in tests.all()]
    assert "control_fatrelu2" in names
    thresholded = [name for name in names if name.endswith("_fatrelu2")]
    assert sum(name.startswith("l1_") for name in thresholded) == 1
    row = tests.get("control_fatrelu2", 0)["activation_sparsity"]["element"]
    assert row > tests.get("control", 0)["activation_sparsity"]["element"]
    report = (out / "report.md").read_text()
    assert re.search(r"\| control \+ FATReLU( \*)? \| budget 2 \|", report)


@pytest.mark.slow
def test_another_comparison_is_refused(finished, capsys):
    assert _main(finished[0], "--cells.lr", "0.5") == 2
    assert "--cells.lr is 0.5, was 0.02" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--grid", "l1"), "needs strength=NUMBER"),
        (("--grid", "l7 strength=1"), "got 'l7'"),
        (("--grid", "l1 strength=1 a=1"), "no option"),
        (("--grid", "l1 strength=x"), "'x' must be a number"),
        (("--grid", "l1 strength=0"), "strengths must be > 0"),
        (("--grid", "l1 strength=1", "l1 strength=1"), "more than once"),
        (("--grid",), "--grid is empty"),
        (("--seeds", "1", "1"), "--seeds must be distinct"),
        (("--fatrelu", "-1"), "--fatrelu must be in [0, 100], got (-1.0,)"),
        (("--fatrelu", "1", "1"), "--fatrelu must be distinct"),
        (("--sparsity", "101"), "--sparsity must be in [0, 100], got 101"),
        (("--margin", "-1"), "--margin must be in [0, 100], got -1"),
        (("--cells.epochs", "-1"), "--cells.epochs must be >= 0"),
        (("--cells.lr", "0"), "--cells.lr must be > 0"),
        (("--data.holdout", "0"), "--data.holdout must be above 0"),
        (("--data.batch-size", "0"), "--data.batch_size must be at least 1"),
    ],
)
def test_bad_options_are_refused_before_data_is_read(arguments, message, refused):
    refused(_main, arguments, message, before="dst_jax.data.load", status=2)


def _record(cell, seed, top1, sparsity):
    return {
        "cell": cell,
        "seed": seed,
        "top1": top1,
        "activation_sparsity": {"element": sparsity},
    }


def test_the_choice_is_the_most_sparse_that_matches_the_control_on_average():
    settings = parse(("l1 strength=1,2,3", "l0 strength=1"))
    records = [
        *(_record("control", seed, 0.990, 0.5) for seed in (0, 1)),
        *(_record("l1_1", seed, 0.995, 0.6) for seed in (0, 1)),
        _record("l1_2", 0, 0.991, 0.8),  # one seed is below the control, not both
        _record("l1_2", 1, 0.987, 0.8),
        *(_record("l1_3", seed, 0.980, 0.9) for seed in (0, 1)),
        *(_record("l0_1", seed, 0.500, 0.9) for seed in (0, 1)),
    ]
    l1, l0 = choose(settings, records, Criterion(QUALITY, 0.001))
    assert (l1.setting.strength, l1.matched, l1.quality.n) == (2, True, 2)
    assert (l0.setting.name, l0.matched) == ("l0_1", False)
    strict = choose(settings, records, Criterion(QUALITY, 0.0))[0]
    assert strict.setting.strength == 1


def test_the_choice_may_be_the_most_accurate_that_is_sparse_enough():
    settings = parse(("l1 strength=1,2,3", "l0 strength=1"), (0.5,))
    tops = {"l1_1": 0.99, "l1_2": 0.97, "l1_3": 0.98, "l0_1": 0.9}
    zeros = {"l1_1": 0.7, "l1_2": 0.8, "l1_3": 0.9, "l0_1": 0.6}
    records = [_record("control", 0, 1.0, 0.5)]
    records += [_record(cell, 0, tops[cell], zeros[cell]) for cell in tops]
    records += [
        _record(f"{cell}_fatrelu0.5", 0, top1, zeros.get(cell, 0.0) + 0.1)
        for cell, top1 in (tops | {"control": 0.995}).items()
    ]
    rule = Criterion(QUALITY, 0.001, sparsity=0.8)
    found = {c.setting.method: c for c in choose(settings, records, rule)}
    assert found["l1"].setting.name == "l1_3"
    assert found["l1 + FATReLU"].setting.name == "l1_1_fatrelu0.5"
    assert not found["l0"].matched
    assert not found["control + FATReLU"].matched
    assert "at least 80 % are zeros" in str(rule)


def test_records_survive_a_cut_line(tmp_path):
    path = tmp_path / "cells.jsonl"
    records = CellRecords(path)
    records.add(_record("a", 0, 1.0, 0.5))
    records.add(_record("b", 0, 1.0, 0.5))
    path.write_text(path.read_text()[:-10])
    again = CellRecords(path)
    assert again.get("a", 0) == _record("a", 0, 1.0, 0.5)
    assert again.get("b", 0) is None
    again.add(_record("b", 0, 0.5, 0.5))
    assert CellRecords(path).get("b", 0)["top1"] == 0.5


def test_settings_of_one_penalty_share_the_function_that_is_compiled():
    first, second = parse(("transformed_l1 strength=1 a=1,2",))
    assert first.term(warmup=0).penalty == second.term(warmup=0).penalty
    assert first.term(warmup=0).options == {"a": 1.0}
    assert Setting("l1", 0.5).name == "l1_0.5"


def test_a_markdown_table_has_a_rule_for_every_column():
    table = tables.Table("T", ("a", "b", "c"), (("x", "1", "2"),), note="n")
    assert report.markdown(table).splitlines()[2:4] == [
        "| a | b | c |",
        "|---|---:|---:|",
    ]


@pytest.mark.parametrize(("cells", "down"), [("xy", "map"), ("xyz", "cell")])
def test_the_longer_of_cells_and_maps_goes_down(cells, down):
    maps = {name: {"zeros": i, "elements": 4} for i, name in enumerate("abc")}
    tests = [{"cell": c, "seed": 0, "layers": {"activations": maps}} for c in cells]
    table = tables.layers(cells, tests)
    assert table.headings[0] == down
    shares = ("0.00", "25.00", "50.00")
    rows = {"map": [(name, x, x) for name, x in zip("abc", shares, strict=True)]}
    rows["cell"] = [(c, *shares) for c in cells]
    assert list(table.rows) == rows[down]
