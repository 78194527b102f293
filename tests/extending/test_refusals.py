"""A name from outside that leads nowhere, or to something else, is refused at once.

Every message names the option, and the status is 2: nothing has been written yet.
"""

import pytest

from dst_jax.train import Stage
from experiments import accelerators, compare_penalties, sparse_training
from experiments.grid.launch import main as compare

NOTHING = [  # options that take module:attribute
    "--data.name",
    "--model.name",
    "--task.name",
    "--prune.method",
    "--prune.penalty",
    "--activation.penalty",
    "--run.accelerators",
]


@pytest.mark.parametrize("option", NOTHING)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_nothing:x", "there is no module my_nothing"),
        ("my_penalty:hubber", "has no attribute 'hubber'; did you mean 'huber'?"),
        ("math:pi", "must be"),  # a number is none of them
    ],
)
def test_the_option_is_named(option, name, message, command, tmp_path, capsys):
    plain = ("--prune.method", "None", "--prune.method-options")  # it has no penalty
    more = plain if option == "--prune.penalty" else ()
    assert command(tmp_path / "run", *more, option, name) == 2
    _check(capsys, option, message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_nothing:x", "there is no module my_nothing"),
        ("my_stage:shrinks", "has no attribute 'shrinks'; did you mean 'shrink'?"),
        ("my_stage:Stage", "Stage"),
        ("my_stage:__name__", "must be a function, got 'my_stage'"),
        ("math:sqrt", "math:sqrt"),
        (f"{__name__}:text", "must return a train.Stage or a list of them"),
        (f"{__name__}:twice", "stage shrink is there twice"),
        (f"{__name__}:second_baseline", "stage pretrain"),
        (f"{__name__}:early", "start must be one of"),
        (f"{__name__}:refuses", "no such size"),
        (f"{__name__}:nothing", "must return a train.Stage or a list of them, got []"),
    ],
)
def test_a_stage_is_refused(name, message, command, tmp_path, capsys):
    stages = ("pretrain", "sparsify_weights", "my_stage:shrink", name)
    assert command(tmp_path / "run", "--run.stages", *stages) == 2
    _check(capsys, "--run.stages", message)
    assert not (tmp_path / "run").exists()


def twice(*, optimizer):
    return Stage(name="shrink", epochs=1, optimizer=optimizer)


def second_baseline(*, optimizer):
    return Stage(name="pretrain", phase="again", epochs=1, optimizer=optimizer)


def early(*, optimizer):
    return Stage(name="early", epochs=1, optimizer=optimizer, start="late")


def refuses(*, optimizer):
    raise ValueError("no such size")


def text():
    return "a stage"


def nothing(*, optimizer):
    return []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.name", "my_data_set:stripe"], "did you mean 'stripes'?"),
        (["--data.augment", "flip"], "has no option ['augment']; it takes"),
        (["--model.name", "my_model:Tap"], "must be callable and take num_classes"),
        (["--model.options", "unit=3"], "has no option ['unit']; it takes ['units']"),
        (["--model.options", "units"], "--model.options: 'units' must be NAME=VALUE"),
        (["--model.options", "units=3", "units=4"], "units is given twice"),
        (["--model.options", "dtype=float32"], "dtype is given by --model.dtype"),
        (["--model.dtype", "bfloat16"], "has no option ['dtype']"),
        (["--task.options", "low=0"], "has no option ['low']; it takes ['high']"),
        (["--task.name", f"{__name__}:text", "--task.options"], "task must have best"),
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
        (
            ["--prune.method-options", "drop=math:pi"],
            "drop 'math:pi' must be a function",
        ),
        (["--run.accelerators", "my_accelerator:Work"], "must be an Accelerator"),
        (["--stage.options", "sparsity=0.5", "speed=1"], "takes 'speed'"),
        (["--stage.options", "strength=1"], "'sparsity'; see --stage.options"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message, command, tmp_path, capsys):
    assert command(tmp_path / "run", *arguments) == 2
    _check(capsys, arguments[0].partition(".")[0], message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (compare_penalties, ["--grid", "my_penalty:hubber strength=1"]),
        (compare_penalties, ["--task.name", "my_task:least"]),
        (sparse_training, ["--methods", "my_method:lotery"]),
        (sparse_training, ["--model.name", "my_model:Nets"]),
        (sparse_training, ["--data.name", "my_data_set:stripe"]),
    ],
)
def test_comparisons_refuse_too(module, arguments, tmp_path, capsys):
    argv = ["--preset", "demo", "--dir", str(tmp_path / "run"), *arguments]
    assert compare("comparison", module.PRESETS, doc="", argv=argv) == 2
    _check(capsys, arguments[0], "has no attribute")
    assert not (tmp_path / "run").exists()


def test_the_accelerators_of_a_finished_run_are_checked(capsys):
    assert accelerators.main(["runs/none", "--names", "my_accelerator:Zero"]) == 2
    _check(capsys, "--names", "has no attribute 'Zero'")


def _check(capsys, option, message):
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert option in line
    assert message in line
