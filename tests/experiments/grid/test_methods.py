import json
from contextlib import nullcontext

import pytest

from dst_jax.report.looks import family, looks
from dst_jax.train import tasks
from experiments import sparse_training
from experiments.grid.launch import main
from experiments.grid.methods import tables
from experiments.grid.methods.costs import counted_share, training_share
from experiments.grid.methods.options import MethodGrid
from experiments.grid.records import CellRecords
from experiments.options.methods import parse
from experiments.running.quality import quality_of

TINY = [
    *("--preset", "demo", "--epochs", "2", "--log-every", "5"),
    *("--model.width", "0.12", "--optim.accumulate", "2"),
    *("--data.batch-size", "128"),
]
CHASE = (
    "chase channel_sparsity=0.4 floor=0.5 interval=2 channel_interval=2 channel_end=5"
    " explore_end=5 end=7"
)
METHODS = ("--methods", "sr_ste", "rigl interval=2 end=7", CHASE)
RIGL = "rigl_interval=2_end=7"
LEFT = CHASE.replace(" ", "_")
CELLS = ["dense", "sr_ste", RIGL, LEFT]


def _main(out, *more):
    argv = ["--dir", str(out), *TINY, *more]
    return main("sparse_training", sparse_training.PRESETS, doc="", argv=argv)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("sparse")
    assert _main(out, *METHODS) == 0
    return out


def _rows(out):
    lines = (out / "table.jsonl").read_text().splitlines()
    return {row["cell"]: row for row in map(json.loads, lines)}


@pytest.mark.slow
def test_a_row_for_dense_and_for_every_method(finished):
    rows = _rows(finished)
    assert list(rows) == CELLS
    assert rows["dense"]["sparsity"]["mean"] == 0
    assert rows["dense"]["training_macs"]["mean"] == 1
    assert rows["dense"]["inference_macs"]["mean"] == 1
    assert rows[RIGL]["sparsity"]["mean"] == pytest.approx(0.9, abs=1e-3)
    assert rows["sr_ste"]["sparsity"]["mean"] == 0.5
    assert rows[RIGL]["inference_macs"]["mean"] == pytest.approx(0.1, abs=1e-3)
    # Two thirds of the products are sparse, one third dense; of a half.
    assert rows["sr_ste"]["training_macs"]["mean"] == pytest.approx(2 / 3)
    assert 0.1 < rows[RIGL]["training_macs"]["mean"] < 0.2
    # Channels are gone; what is left has the budget of the whole network.
    assert rows[RIGL]["forward_time"]["mean"] == 1
    assert rows[LEFT]["forward_time"]["mean"] != 1
    assert rows[LEFT]["sparsity"]["mean"] < 0.9
    assert rows[LEFT]["inference_macs"]["mean"] == pytest.approx(0.1, abs=1e-3)
    assert len(CellRecords(finished / "test.jsonl").all()) == len(CELLS)
    text = (finished / "report.md").read_text()
    assert f"{100 * rows[RIGL]['top1']['mean']:.2f}" in text


@pytest.mark.slow
def test_the_page_shows_a_method_and_its_settings_in_the_methods_colour(finished):
    text = (finished / "report.html").read_text()
    for cell in (RIGL, "sr_ste"):
        look = looks([family(cell)])[family(cell)]
        shown = cell.replace("_interval", " interval").replace("_end", " end")
        assert f'style="--mark: {look.colour}">{shown}</th>' in text
    assert text.count("<img ") == len(list((finished / "figures").glob("*.png")))


@pytest.mark.slow
def test_what_is_finished_is_kept_and_seeds_and_methods_are_added(finished):
    before = {n: (finished / n).read_text() for n in ("cells.jsonl", "test.jsonl")}
    assert _main(finished, "--methods", "static", "--seeds", "0", "1") == 0
    added = {
        name: [json.loads(x) for x in now[len(before[name]) :].splitlines()]
        for name in before
        if (now := (finished / name).read_text()).startswith(before[name])
    }
    for lines in added.values():
        assert {(line["cell"], line["seed"]) for line in lines} == {
            ("static", 0), ("dense", 1), ("static", 1),
        }  # fmt: skip
    assert _rows(finished)["dense"]["top1"]["n"] == 2


@pytest.mark.slow
def test_every_method_may_start_from_given_weights(finished, tmp_path):
    first = CellRecords(finished / "cells.jsonl").get("dense", 0)
    given = str(finished / "seed0" / "checkpoints" / "dense")
    options = ("--init.from", given, "--epochs", "0", "--methods", "--seeds", "7")
    assert _main(tmp_path / "out", *options) == 0
    again = CellRecords(tmp_path / "out" / "cells.jsonl").get("dense", 7)
    assert again["holdout"] == first["holdout"]


@pytest.mark.slow
def test_another_recipe_is_refused(finished, capsys):
    assert _main(finished, *METHODS, "--lr", "0.5") == 2
    assert "--lr is 0.5, was 0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "rigl2"), "--methods: 'rigl2': method must be one of"),
        (("--methods", ""), "method must be one of"),
        (("--methods", "rigl", "rigl"), "--methods names rigl more than once"),
        (("--methods", "rigl alpha=1"), "rigl has no option 'alpha'"),
        (("--sparsity", "1"), "--prune.sparsity must be in [0, 1), got 1.0"),
        (("--epochs", "-1"), "--pretrain.epochs must be >= 0"),
        (("--seeds", "0", "0"), "--seeds must be distinct"),
        (("--seeds", "-1"), "--seeds must be >= 0"),
        (("--rules", "fc"), "'fc' must be NAME=VALUE"),
    ],
)
def test_bad_options_are_refused_before_data_is_read(arguments, message, refused):
    refused(_main, arguments, message, before="dst_jax.data.load", status=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "rigl end=1000"), "stage rigl_end=1000: rigl: end must be at"),
        (("--rules", "conv=false"), "stage random: "),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    arguments, message, refused
):
    refused(_main, arguments, message, before="dst_jax.train.run_stage", status=2)


def test_training_share_follows_the_masks_and_the_dense_gradients():
    macs = {"fc1": 300, "fc2": 100}
    lines = [
        {"epoch": epoch, "layers": {"fc1/kernel": {"density": density}}}
        for epoch, density in ((1.0, 1.0), (4.0, 0.5))
    ]

    def share(name, *texts):
        method = parse(name, texts, target=0.5)
        return training_share(method, lines, macs, epochs=4, updates_per_epoch=10)

    assert training_share(None, (), macs, epochs=4, updates_per_epoch=10) == 1
    assert share("gradual_magnitude") == (1 + 250 / 400) / 2
    assert share("ste") == (1 + (2 * 250 + 400) / 1200) / 2
    with_growth = (1 + (2 * 250 + (250 * 4 + 400) / 5) / 1200) / 2
    assert share("rigl", "interval=4", "end=40") == pytest.approx(with_growth)
    # From step 30 on nothing grows, and no gradient is dense.
    assert share("rigl", "interval=4", "end=30") == share("gradual_magnitude")
    assert share("rigl", "interval=4", "end=40", "grow=random") == share("set")
    with pytest.raises(ValueError, match="lines is empty"):
        training_share(
            parse("ste", target=0.5), (), macs, epochs=4, updates_per_epoch=10
        )


def test_counted_share_is_that_of_its_own_lines():
    counts = {"valid": 8, "by_weight": 4, "effectual": 2, "all_weights": 4}
    place = {"stage": "rigl", "phase": "rigl", "weights": {"fc/kernel": 5}}
    step = {"kind": "step", "step": 1, "examples": 1, **place}
    step["layers"] = {"fc": {"weight_gradient": counts}}
    interval = {"kind": "interval", "step": 1, "steps": 1, **place}
    lines = [step, interval | {"dense_gradients": 0}, step | {"stage": "set"}]
    assert counted_share(lines, "rigl") == 0.25
    assert counted_share(lines, "set") is counted_share(lines, "dense") is None
    assert counted_share([step, interval | {"dense_gradients": 1}], "rigl") == 0.5


def test_step_times_are_ratios_within_a_seed():
    def record(cell, seed, speed):
        return {
            "cell": cell,
            "seed": seed,
            "method": cell,
            "training_macs": 0.5,
            "images_per_second": speed,
        }

    def test(cell, seed):
        counts = {"fc": {"by_weight": 25, "valid": 100}}
        return {
            "cell": cell,
            "seed": seed,
            "weight_sparsity": 0.75,
            "top1": 0.5 + 0.1 * seed,
            "layers": {"counts": counts},
        }

    records = [
        record("dense", 0, 100), record("dense", 1, 50),
        record("set", 0, 80), record("set", 1, 25),
    ]  # fmt: skip
    tests = [test(cell, seed) for cell in ("dense", "set") for seed in (0, 1)]
    quality = quality_of(tasks.classification())
    rows = tables.rows(["dense", "set"], records, tests, quality)
    assert rows[1]["step_time"]["mean"] == (1.25 + 2) / 2
    assert rows[1]["inference_macs"]["mean"] == 0.25
    assert tables.table(rows, quality).rows[1][3] == "55.00 ± 7.07"


def test_swat_is_a_cell():
    text = "ste distribution=uniform saved_sparsity=0.8"
    comparison = MethodGrid(methods=(text, "ste"), rules=("^fc=false",)).comparison()
    _, swat, plain = comparison.cells
    assert swat.within.args == (0.8,)
    assert swat.within.keywords == {"rules": (("^fc", False),)}
    assert plain.within is nullcontext
    wrong = "ste saved_sparsity=1"
    with pytest.raises(
        ValueError, match=rf"{wrong}': saved_sparsity must be in \[0, 1\)"
    ):
        MethodGrid(methods=(wrong,)).comparison()


def test_parts_of_east_are_options_of_any_method():
    texts = ("rigl owners=2", "east period=20% dyrelu=true fan_in=true", "set")
    comparison = MethodGrid(methods=texts, sparsity=0.9).comparison()
    _, shared, dynamic, plain = comparison.cells
    assert shared.parametrisation is not None
    assert shared.schedules == {}
    assert dynamic.parametrisation is None
    assert dynamic.first_weights is not None
    phase = dynamic.schedules(steps=1000, steps_per_epoch=10)["phases"]
    assert [float(phase(step)) for step in (250, 373, 496)] == [1, 0.5, 0]
    assert plain.on_entry is plain.first_weights is plain.parametrisation is None
    for text, message in (
        ("rigl owners=two", "owners must be of another type, got 'two'"),
        ("rigl owners=0", "owners must be a whole number >= 1, got 0"),
        ("rigl owner=2", "rigl has no option 'owner'"),
    ):
        with pytest.raises(ValueError, match=f"--methods: '{text}': {message}"):
            MethodGrid(methods=(text,)).comparison()


def test_an_operation_with_a_shared_kernel_has_its_owners_density():
    rigl = parse("rigl", ["grow=random"], target=0.9)
    macs = {f"layer1/{i}/conv1": 100 for i in range(4)} | {"fc": 200}
    densities = {"layer1/0/conv1": 0.5, "layer1/1/conv1": 0.25, "fc": 1.0}
    layers = {f"weights/{k}/kernel": {"density": d} for k, d in densities.items()}
    lines, lengths = [{"epoch": 1.0, "layers": layers}], {"updates_per_epoch": 10}
    share = training_share(rigl, lines, macs, epochs=1, owners=2, **lengths)
    assert share == pytest.approx((50 + 3 * 25 + 200) / 600)
