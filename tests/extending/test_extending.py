"""What is added from outside the package is reached by the commands, by its name.

Each `my_*.py` next to this file adds one thing and says how a command names it. One
run has all of them.
"""

import contextlib
import io
import json
import re

import pytest

from experiments import accelerators, compare_penalties, export, sparse_training
from experiments.grid.launch import main as compare

pytestmark = pytest.mark.slow

CLASSIFICATION = re.compile(r"top-?[15]\b|accura", re.IGNORECASE)


@pytest.fixture(scope="module")
def run(command, tmp_path_factory):
    """The run's directory, and what the command printed."""
    directory = tmp_path_factory.mktemp("runs") / "extended"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert command(directory) == 0
    return directory, printed.getvalue()


def _stage(run, name):
    return json.loads((run[0] / "stages" / f"{name}.json").read_text())


def _lines(run, name="metrics.jsonl"):
    return list(map(json.loads, (run[0] / name).read_text().splitlines()))


def test_the_data_set_and_the_network_are_trained(run):
    assert "stripes: 77 training, 19 hold-out, 64 test images" in run[1]
    row = _stage(run, "pretrain")
    assert row["examples"] == 64
    assert row["layers"]["weights"]["fc1/kernel"]["elements"] == 8 * 8 * 12
    assert row["layers"]["activations"]["relu1"]["elements"] == 64 * 12
    # A map without positions has tiles of one element.
    assert row["layers"]["tiles"]["relu1"] == row["layers"]["activations"]["relu1"]
    assert row["layers"]["weight_counts"] == {}
    assert json.loads((run[0] / "config.json").read_text())["model"]["name"] == (
        "my_model:Net"
    )


def test_the_method_prunes_by_the_score(run):
    row = _stage(run, "sparsify_weights")
    assert row["weight_sparsity"] == 0.5
    lines = _lines(run, "masks.jsonl")
    density = [line["layers"]["fc1/kernel"]["density"] for line in lines]
    assert density[0] == 1 > density[-1]


def test_the_penalty_is_charged(run):
    found = [line for line in _lines(run) if line["kind"] == "train"]
    charged = {x["stage"] for x in found if x.get("activation_penalty", 0) > 0}
    assert charged == {"sparsify_activations"}


def test_the_stage_has_its_term_and_hands_on_its_network(run):
    found = [line for line in _lines(run) if "pull" in line]
    assert {line["stage"] for line in found} == {"shrink"}
    assert found[0]["pull"] == 0 < found[-1]["pull"]
    row = _stage(run, "shrink")
    assert row["title"] == "shrunken"
    assert row["weight_sparsity"] == 0.75
    assert "Shrunken: 75.00 % of the weights" in (run[0] / "report.html").read_text()


def test_the_task_decides_and_is_reported_in_its_own_words(run):
    directory, printed = run
    evals = [line["mse"] for line in _lines(run) if line["kind"] == "eval"]
    rows = [json.loads(x.read_text()) for x in (directory / "stages").iterdir()]
    assert len(evals) == 5 > len(rows) == 4
    assert all(0 < row["mse"] < 2 and 0 <= row["within"] <= 1 for row in rows)
    report = (directory / "report.html").read_text()
    for text in (printed, report):
        assert "squared error" in text
        assert not CLASSIFICATION.findall(text)
    assert re.search(r"hold-out: squared error \d\.\d{4},", printed)
    assert f"shrink: squared error {_stage(run, 'shrink')['mse']:.4f}," in printed
    assert "Error, sparsity, multiplications" in report
    assert all(not CLASSIFICATION.findall(json.dumps(line)) for line in _lines(run))


def test_the_accelerator_is_estimated(run, capsys):
    path = run[0] / "accelerators" / "sparsify_activations.json"
    found = json.loads(path.read_text())["machines"]["my_accelerator:ZeroSkipper"]
    counts = _stage(run, "sparsify_activations")["layers"]["counts"]
    assert list(found["layers"]) == list(counts)
    assert 0 < found["total"]["macs"]["effectual"] < found["total"]["macs"]["dense"]
    again = ["--names", "my_accelerator:ZeroSkipper", "dense", "--examples", "2"]
    assert accelerators.main([str(run[0]), *again]) == 0
    assert list(json.loads(path.read_text())["machines"]) == again[1:3]
    assert not CLASSIFICATION.findall(capsys.readouterr().out)


def test_what_was_trained_is_exported(run, tmp_path):
    assert export.main([str(run[0]), "--out", str(tmp_path)]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["model"]["num_classes"] == 2
    assert card["input"]["shape"] == [8, 8, 1]
    assert card["input"]["mean"] == [0.4]
    row = _stage(run, "shrink")
    metrics = {name: row[name] for name in ("mse", "within", "examples")}
    assert card["error"] == metrics


SHARED = [
    *("--data.name", "my_data_set:stripes", "--data.batch-size", "32"),
    *("--data.eval-batch-size", "32", "--model.name", "my_model:Net", "--seeds", "0"),
    *("--task.name", "my_task:LeastSquares"),
]


def test_penalties_are_compared(tmp_path, capsys):
    argv = [
        *("--preset", "demo", "--dir", str(tmp_path), *SHARED),
        *("--grid", "my_penalty:huber strength=0.1 delta=0.2,0.4"),
        *("--pretrain.epochs", "1", "--cells.epochs", "1"),
    ]
    presets = compare_penalties.PRESETS
    assert compare("compare_penalties", presets, doc="", argv=argv) == 0
    cells = [json.loads(x) for x in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert [cell["cell"] for cell in cells] == [
        "baseline",
        "control",
        "my_penalty-huber_delta0.2_0.1",
        "my_penalty-huber_delta0.4_0.1",
    ]
    _check_report(tmp_path, "my_penalty:huber", capsys.readouterr().out)


def test_methods_are_compared(tmp_path, capsys):
    method = "my_method:lottery drop=my_score:smallest_square at=50%"
    argv = [
        *("--preset", "demo", "--dir", str(tmp_path), *SHARED),
        *("--methods", method, "--epochs", "1", "--log-every", "1"),
    ]
    presets = sparse_training.PRESETS
    assert compare("sparse_training", presets, doc="", argv=argv) == 0
    tests = [json.loads(x) for x in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert [round(test["weight_sparsity"], 2) for test in tests] == [0, 0.9]
    _check_report(tmp_path, "my_method:lottery", capsys.readouterr().out)


def _check_report(directory, name, printed):
    for text in (printed, (directory / "report.md").read_text()):
        assert name in text
        assert "squared error" in text
        assert not CLASSIFICATION.findall(text)
