"""What is added from outside the package is reached by the commands, by its name.

Each `my_*.py` next to this file adds one thing and says how a command names it.
"""

import json
import sys
from pathlib import Path

import pytest

from dst_jax import report
from experiments import accelerators, export, mnist_lenet5
from experiments.grid.methods.options import MethodGrid
from experiments.grid.penalties.options import PenaltyGrid
from experiments.running.launch import main

HERE = Path(__file__).parent
OPTIONS = [
    *("--data.name", "my_data_set:stripes", "--data.batch-size", "32"),
    *("--data.eval-batch-size", "32", "--run.log-every", "1", "--run.no-control"),
    *("--model.name", "my_model:Net", "--model.options", "units=12"),
    *("--prune.method", "my_method:lottery", "--prune.sparsity", "0.5"),
    *("--prune.method-options", "drop=my_score:smallest_square", "at=1ep"),
    *("--activation.penalty", "my_penalty:huber", "--activation.options", "delta=0.2"),
    *("--run.accelerators", "my_accelerator:ZeroSkipper", "--pretrain.epochs", "1"),
    *("--prune.induce-epochs", "1", "--prune.finetune-epochs", "1"),
    *("--activation.epochs", "1", "--activation.strength", "0.01"),
    *("--task.name", "my_task:Margin", "--task.options", "width=0.5"),
    *("--stage.options", "size=0.1", "times=2", "--stage.epochs", "1", "--run.stages"),
    *("pretrain", "sparsify_weights", "my_stage:shaken", "sparsify_activations"),
]


def _main(directory, *more):
    argv = ["--run.dir", str(directory), *OPTIONS, *more]
    return main("mnist_lenet5", mnist_lenet5.PRESETS, doc="", argv=argv)


@pytest.fixture(scope="module", autouse=True)
def importable():
    """As if the commands were started in this directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield
    for path in HERE.glob("my_*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "extended"
    assert _main(directory) == 0
    return directory


def _stage(run_dir, name):
    return json.loads((run_dir / "stages" / f"{name}.json").read_text())


def test_the_data_set_and_the_network_are_trained(run_dir):
    row = _stage(run_dir, "pretrain")
    assert row["examples"] == 64
    assert row["layers"]["weights"]["fc1/kernel"]["elements"] == 8 * 8 * 12
    assert row["layers"]["activations"]["relu1"]["elements"] == 64 * 12


def test_the_method_prunes_by_the_score(run_dir):
    row = _stage(run_dir, "sparsify_weights")
    assert row["weight_sparsity"] == 0.5
    lines = (run_dir / "masks.jsonl").read_text().splitlines()
    density = [json.loads(x)["layers"]["fc1/kernel"]["density"] for x in lines]
    assert density[0] == 1 > density[-1]


def test_the_stage_has_its_phases_and_its_term(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    own = [x for x in map(json.loads, lines) if x["stage"] == "shaken"]
    assert {x["phase"] for x in own} == {"1", "2"}
    assert all(x["trained_penalty"] > 0 for x in own if x["kind"] == "train")
    assert _stage(run_dir, "shaken")["weight_sparsity"] == 0.5  # the mask is held
    drift = _stage(run_dir, "shaken")["drift"]["euclidean"]
    assert drift > _stage(run_dir, "sparsify_weights")["drift"]["euclidean"]


def test_the_task_is_measured_and_reported(run_dir, capsys):
    row = _stage(run_dir, "pretrain")
    assert set(row["holdout"]) == {"right", "loss"}
    assert row["right"] > 0.9
    report.show([run_dir])
    said = capsys.readouterr().out
    assert "Right answers" in said
    assert "after noise" in said


def test_the_penalty_is_charged(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    found = [x for x in map(json.loads, lines) if x["kind"] == "train"]
    charged = {x["stage"] for x in found if x.get("activation_penalty", 0) > 0}
    assert charged == {"sparsify_activations"}


def test_the_accelerator_is_estimated(run_dir):
    path = run_dir / "accelerators" / "sparsify_activations.json"
    found = json.loads(path.read_text())["machines"]["my_accelerator:ZeroSkipper"]
    counts = _stage(run_dir, "sparsify_activations")["layers"]["counts"]
    assert list(found["layers"]) == list(counts)
    assert 0 < found["total"]["macs"]["effectual"] < found["total"]["macs"]["dense"]
    again = ["--names", "my_accelerator:ZeroSkipper", "dense", "--examples", "2"]
    assert accelerators.main([str(run_dir), *again]) == 0
    assert list(json.loads(path.read_text())["machines"]) == again[1:3]


def test_what_was_trained_is_exported(run_dir, tmp_path):
    assert export.main([str(run_dir), "--out", str(tmp_path)]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["model"]["num_classes"] == 2
    assert set(card["accuracy"]) == {"right", "loss", "examples"}
    assert card["input"]["shape"] == [8, 8, 1]
    assert card["input"]["mean"] == [0.4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.name", "my_data_set:stripe"], "did you mean 'stripes'?"),
        (["--data.name", "my_data:stripes"], "there is no module my_data"),
        (["--model.name", "my_model:flatten"], "has no attribute 'flatten'"),
        (
            ["--model.name", "my_model:__name__"],
            "must be callable and take num_classes",
        ),
        (["--model.options", "unit=3"], "has no option ['unit']; it takes ['units']"),
        (["--model.options", "units"], "--model.options: 'units' must be NAME=VALUE"),
        (["--model.options", "units=3", "units=4"], "units is given twice"),
        (["--model.options", "dtype=float32"], "dtype is given by --model.dtype"),
        (["--model.dtype", "bfloat16"], "has no option ['dtype']"),
        (["--activation.penalty", "my_penalty:jnp"], "must be a function"),
        (["--activation.options", "delta=0"], "delta must be > 0, got 0.0"),
        (
            ["--prune.method", "my_score:smallest_square"],
            "must be made by pruning.method",
        ),
        (["--prune.method-options", "by=1"], "my_method:lottery has no option 'by'"),
        (
            ["--prune.method-options", "drop=my_score:square"],
            "has no attribute 'square'",
        ),
        (["--run.accelerators", "my_accelerator:Work"], "must be an Accelerator"),
        (["--task.name", "my_task:jnp"], "--task.name: task"),
        (["--task.options", "with=1"], "my_task:Margin has no option ['with']"),
        (["--optim.label-smoothing", "0.1"], "has no option ['label_smoothing']"),
        (["--stage.options"], "missing a required argument: 'size'"),
        (["--stage.options", "size=1", "sizes=1"], "takes 'sizes'"),
        (["--run.stages", "pretrain", "my_stage:squares"], "takes 'size'"),
        (["--run.stages", "pretrain"], "--stage.options is for stages named"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(arguments, message, tmp_path, capsys):
    assert _main(tmp_path / "run", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_option_that_a_data_set_has_not_is_refused(tmp_path, capsys):
    assert _main(tmp_path / "run", "--data.augment", "flip") == 1
    assert "my_data_set:stripes has no option ['augment']" in capsys.readouterr().err


def test_comparisons_take_penalties_and_methods():
    grid = PenaltyGrid(grid=("my_penalty:huber strength=0.1 delta=0.2,0.4",))
    assert [cell.name for cell in grid.comparison().cells[2:]] == [
        "my_penalty-huber_delta0.2_0.1",
        "my_penalty-huber_delta0.4_0.1",
    ]
    methods = MethodGrid(methods=("my_method:lottery at=1ep",))
    assert [cell.name for cell in methods.comparison().cells] == [
        "dense",
        "my_method-lottery_at=1ep",
    ]
