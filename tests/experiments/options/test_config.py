import dataclasses
import importlib
import json
from dataclasses import replace
from pathlib import Path

import jax
import pytest

import experiments
from dst_jax.typing import Network
from experiments import imagenet_resnet18
from experiments.options import Config, InitOptions
from experiments.running.command_line import parse_preset
from experiments.running.config_record import differences, from_nested, nested
from experiments.running.launch import main

PRESETS = {
    name: importlib.import_module(f"experiments.{name}").PRESETS
    for name in (
        "cifar100_densenet121",
        "cifar100_resnet34_east",
        "cifar100_resnet50_east",
        "cifar10_resnet34_east",
        "cifar100_googlenet",
        "cifar100_resnet18",
        "cifar100_resnet50_chase",
        "cifar100_vgg19_chase",
        "evaluate",
        "cifar10_resnet18_relaxation",
        "cityscapes_unet",
        "imagenet_resnet18",
        "imagenet_resnet34",
        "imagenet_resnet50",
        "imagenet_resnet50_chase",
        "imagenet_resnet50_east",
        "imagenet_resnet50_relaxation",
        "imagenette_efficientnet_lite0",
        "mnist_lenet5",
    )
}


def _parse(*argv):
    return parse_preset(imagenet_resnet18.PRESETS, list(argv), name="test", doc="")


@pytest.mark.parametrize(
    ("experiment", "preset"),
    [(name, preset) for name, presets in PRESETS.items() for preset in presets],
)
def test_every_preset_is_valid(experiment, preset):
    config = PRESETS[experiment][preset]
    assert config.preset == preset
    if experiment == "evaluate":
        config = replace(config, init=InitOptions(path="torchvision:resnet18"))
    config.check()
    stages = config.stages()
    assert stages
    config.rehearse(stages)
    assert from_nested(json.loads(json.dumps(nested(config)))) == config


def test_every_experiment_is_in_the_list_of_presets():
    files = Path(experiments.__path__[0]).glob("*.py")
    launched = [f.stem for f in files if "PRESETS, doc=__doc__" in f.read_text()]
    others = ["channel_removal", "compare_penalties", "sparse_training"]
    assert sorted(launched) == sorted([*PRESETS, *others])


def test_dotted_overrides_on_a_preset():
    config = _parse(
        *("--preset", "small", "--prune.sparsity", "0.9", "--data.name", "cifar100"),
        *("--activation.penalty", "l1", "--activation.strength", "1e-6"),
        *("--init.from", "runs/a", "--run.control"),
    )
    assert config.prune.sparsity == 0.9
    assert config.activation.penalty == "l1"
    assert config.activation.strength == 1e-6
    assert config.init.path == "runs/a"
    assert config.run.control
    small = imagenet_resnet18.PRESETS["small"]
    assert config.pretrain == small.pretrain


@pytest.mark.parametrize(
    "argv",
    [
        ["--prune.sparsty", "0.5"],
        ["--preset", "huge"],
        ["--run.stages", "pretrian"],
        ["--data.batch-size", "many"],
    ],
)
def test_unknown_options_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as refused:
        main("imagenet_resnet18", imagenet_resnet18.PRESETS, doc="", argv=argv)
    assert refused.value.code == 2
    said = capsys.readouterr()
    assert argv[0].lstrip("-").split(".")[0] in said.err + said.out


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["--prune.sparsty", "0.5"], "did you mean --prune.sparsity?"),
        (["--run.no-controll"], "did you mean --run.control?"),
        (["--run.stages", "pretrian"], "did you mean 'pretrain'?"),
        (["--optim.rule", "sdg"], "did you mean 'sgd'?"),
        (["--preset", "smal"], "did you mean 'small'?"),
        (["--model.width", "wide"], "--model.width: no type matching {None}|FLOAT"),
        (["--preset"], "Missing value for argument '--preset'"),
    ],
)
@pytest.mark.parametrize("columns", ["20", "200"])
def test_an_error_of_the_parser_is_one_line(argv, meant, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        _parse(*argv)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert meant in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--prune.sparsity", "1.0"], "--prune.sparsity must be in [0, 1), got 1.0"),
        (["--activation.strength", "-1"], "--activation.strength must be >= 0"),
        (["--activation.strength", "nan"], "--activation.strength must be >= 0"),
        (["--pretrain.lr", "0"], "--pretrain.lr must be > 0 and finite, got 0.0"),
        (["--data.holdout", "1"], "--data.holdout must be in [0, 1), got 1.0"),
        (["--activation.a", "0"], "--activation.a must be > 0 and finite, got 0.0"),
        (["--prune.a", "1"], "--prune.a is for transformed_l1, not l1"),
        (["--prune.threshold", "0.1"], "give one and set the other to None"),
        (["--prune.rules", "conv1"], "--prune.rules: 'conv1' must be NAME=VALUE"),
        (["--prune.rules", "fc=maybe"], "must end in =true or =false"),
        (["--activation.layers", "relu=x"], "'x' must be a number"),
        (["--init.from", "nowhere"], "--init.from: nowhere does not exist"),
        (["--run.stages"], "nothing but evaluation: give --init.from its weights"),
        (["--run.accelerators", "tpu9"], "accelerator must be one of"),
        (["--activation.target", "1.5"], "--activation.target must be in [0, 1)"),
        (["--activation.threshold", "-1"], "--activation.threshold must be >= 0"),
        (
            ["--activation.threshold-epochs", "2"],
            "needs --activation.threshold, got 2.0 and None",
        ),
        (
            ["--activation.threshold", "1", "--run.stages", "pretrain"],
            "is for the stage sparsify_activations, got 1.0",
        ),
        (["--activation.patterns", "2-4"], "a pattern must be N:M, such as 2:4"),
        (
            ["--activation.patterns", "relu=5:4"],
            "n must be an integer in [1, m] with m = 4",
        ),
        (
            ["--activation.patterns", "2:4", "--run.stages", "pretrain"],
            "--activation.patterns is for the stage sparsify_activations",
        ),
        (
            ["--activation.target", "0.5", "--activation.strength", "0"],
            "--activation.strength must be > 0, got 0.0",
        ),
        (
            ["--activation.flops-aware", "--activation.layers", "relu=2"],
            "leave out --activation.layers",
        ),
        (["--run.stages", "sparsify_weights"], "give --init.from its weights"),
        (["--data.name", "imagenot"], "--data.name must be one of ("),
        (["--model.name", "resnet19"], "got 'resnet19'"),
        (["--model.width", "0"], "width must be in (0, 16], got 0.0"),
        (["--optim.milestones", "2"], "milestones must be in (0, 1), got (2.0,)"),
        (["--activation.penalty", "l7"], "--activation.penalty: penalty must be one"),
        (["--activation.options", "b=1"], "transformed_l1 has no option ['b']"),
        (["--activation.options", "a"], "--activation.options: 'a' must be NAME"),
        (
            ["--run.stages", "pretrain", "sparsify_jointly", "sparsify_weights"],
            "sparsify_jointly takes the place of the other two",
        ),
        (["--optim.accumulate", "0"], "--optim.accumulate must be at least 1, got 0"),
        (["--optim.accumulate", "1099511627776"], "--optim.accumulate must be at most"),
        (["--optim.clip", "-1"], "--optim.clip must be > 0 and finite, got -1.0"),
        (["--optim.clip", "0"], "--optim.clip must be > 0 and finite, got 0.0"),
        (["--optim.clip", "nan"], "--optim.clip must be > 0 and finite, got nan"),
        (["--optim.factor", "0"], "--optim.factor must be > 0 and finite, got 0.0"),
        (["--optim.milestones", "0.5", "nan"], "--optim.milestones must be in (0, 1)"),
        (["--model.width", "nan"], "--model.width must be in (0, 16], got nan"),
        (["--run.seed", "4294967296"], "--run.seed must be in [0, 2**32), got 4294"),
        (["--run.seed", "18446744073709551616"], "--run.seed must be in [0, 2**32)"),
        (["--run.log-every", "9999999999"], "--run.log_every must be below 2**32"),
        (["--data.workers", "1099511627776"], "--data.workers must be in [0, 1024]"),
        (["--data.threads", "0"], "--data.threads must be at least 1, got 0"),
        (["--data.threads", "2000"], "--data.threads must be at most 1024, got 2000"),
        (["--data.image-size", "100000"], "--data.image_size must be at most 8192"),
        (["--pretrain.epochs", "1e30"], "--pretrain.epochs must be at most 1000000"),
        (["--pretrain.lr", "1e308"], "--pretrain.lr must be 0, or from 1.2e-38 to"),
        (["--prune.lr", "1e-308"], "--prune.lr must be 0, or from 1.2e-38 to 3.4e38"),
        (["--activation.layers", "relu=nan"], "--activation.layers: 'nan' must be a f"),
        (["--activation.layers", "relu=inf"], "--activation.layers: 'inf' must be a f"),
        (["--activation.layers", "relu=-1e30"], "'relu' must be >= 0, got -1e30"),
        (["--activation.layers", "(=1"], "--activation.layers: '(' is not a regular"),
        (["--activation.options", "a=1e-300"], "must be a finite number that float32"),
        (["--prune.rules", "(=true"], "--prune.rules: '(' is not a regular expressi"),
        (
            ["--prune.method", "rigl", "--prune.method-options", "interval=1e30ep"],
            "--prune.method: interval must be at most 1000000ep, got 1e30ep",
        ),
        (
            ["--prune.method", "rigl", "--prune.method-options", "end=101%"],
            "--prune.method: end must be at most 100%, got 101%",
        ),
        (
            ["--prune.method", "rigl", "--prune.method-options", "interval=2147483648"],
            "--prune.method: interval must be a number below 2**31, got 2147483648",
        ),
        (
            ["--prune.method", "srigl", "--prune.method-options", "output=("],
            "--prune.method: '(' is not a regular expression",
        ),
        (["--prune.method", "rigl2"], "--prune.method: method must be one of"),
        (
            ["--prune.method", "rigl", "--prune.method-options", "alpha=1"],
            "--prune.method: rigl has no option 'alpha'",
        ),
        (
            ["--prune.method", "auto_sparse"],
            "--prune.method: auto_sparse has no option 'sparsity'",
        ),
        (["--prune.method-options", "end=1"], "is for --prune.method, which is not"),
        (["--prune.method-start", "magnitude"], "is for --prune.method, which is not"),
        (
            ["--prune.layer-floor", "0.5"],
            "must be at most 1 - --prune.sparsity, got 0.5",
        ),
        (
            ["--prune.method", "rigl", "--prune.layer-floor", "0.1"],
            "--prune.layer_floor is for a mask of --prune.sparsity by magnitude",
        ),
        (
            [
                *("--prune.method", "auto_sparse", "--prune.sparsity", "None"),
                *("--prune.method-start", "magnitude"),
            ],
            "give one and set the other to None, got None and None",
        ),
    ],
)
def test_bad_values_are_refused_before_anything_is_loaded(
    argv, message, capsys, tmp_path
):
    argv = [*argv, "--run.dir", str(tmp_path / "run"), "--data.dir", str(tmp_path)]
    status = main("imagenet_resnet18", imagenet_resnet18.PRESETS, doc="", argv=argv)
    assert status == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        _parse("--help")
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for group in dataclasses.fields(Config):
        if dataclasses.is_dataclass(group.default_factory):
            for option in dataclasses.fields(group.default_factory):
                name = {"path": "from"}.get(option.name, option.name)
                assert f"--{group.name}.{name.replace('_', '-')}" in said


def test_stages_follow_run_stages():
    config = _parse(
        *("--run.stages", "pretrain", "sparsify_activations", "sparsify_weights"),
        "--run.control",
    )
    stages = config.stages()
    assert [(s.path, s.start) for s in stages] == [
        ("pretrain", None),
        ("control", "pretrain"),
        ("sparsify_activations", "pretrain"),
        ("sparsify_weights.induce", "sparsify_activations"),
        ("sparsify_weights.finetune", None),
    ]
    assert stages[1].epochs == sum(s.epochs for s in stages[2:])


def test_joint_training_has_both_penalties_and_then_the_mask():
    config = _parse(
        *("--run.stages", "pretrain", "sparsify_jointly"),
        *("--activation.penalty", "mcp", "--activation.options", "gamma=2"),
    )
    _, induce, finetune = config.stages()
    assert (induce.path, finetune.path) == (
        "sparsify_jointly.induce",
        "sparsify_jointly.finetune",
    )
    maps, weights = induce.objective.terms
    assert (maps.over, weights.over) == ("maps", "weights")
    assert maps.options == {"gamma": 2.0}
    assert finetune.objective.terms == (maps,)


def test_a_method_takes_the_place_of_stage_two():
    config = _parse(
        *("--run.stages", "pretrain", "sparsify_activations", "sparsify_weights"),
        *("--prune.method", "rigl", "--prune.method-options", "interval=0.5ep"),
        *("--prune.induce-epochs", "1", "--prune.finetune-epochs", "2"),
    )
    *_, stage = config.stages()
    assert (stage.path, stage.start) == (
        "sparsify_weights.rigl",
        "sparsify_activations",
    )
    assert stage.epochs == 3
    network = Network(print, {"params": {"fc": jax.numpy.ones((10, 10))}})
    assert stage.on_entry(network).mask is None
    magnitude = replace(config.prune, method_start="magnitude", sparsity=0.8)
    *_, stage = replace(config, prune=magnitude).stages()
    assert int(stage.on_entry(network).mask["fc"].sum()) == 20


def test_a_method_and_an_activation_term_make_one_joint_stage():
    config = _parse(
        *("--run.stages", "pretrain", "sparsify_jointly"),
        *("--prune.method", "sr_ste", "--prune.sparsity", "None"),
    )
    _, joint = config.stages()
    assert joint.path == "sparsify_jointly.sr_ste"
    (term,) = joint.objective.terms
    assert term.strength == config.activation.strength


def test_the_threshold_method_takes_the_penalty_of_stage_two():
    config = _parse(
        *("--prune.method", "threshold", "--prune.penalty", "transformed_l1"),
        *("--prune.a", "0.5", "--prune.strength", "0.25"),
    )
    method = config.prune.sparse_method()
    assert method.options["penalty"].keywords == {"a": 0.5}
    assert method.options["strength"] == 0.25
    assert method.options["induce"].value == config.prune.induce_epochs
    assert method.options["sparsity"] == 0.6
    proximal = replace(config.prune, method_options=("prox=l1",))
    assert proximal.sparse_method().options["penalty"] is None


def test_differences_name_what_changes_the_result():
    config = _parse("--preset", "demo")
    same = nested(_parse("--preset", "demo", "--run.dir", "x", "--data.threads", "1"))
    assert differences(config, same) == []
    other = nested(_parse("--preset", "demo", "--run.seed", "3"))
    assert differences(config, other) == ["--run.seed is 0, was 3"]


def test_an_option_that_did_not_exist_yet_counts_as_at_its_default():
    config = _parse("--preset", "demo")
    old = nested(config)
    del old["prune"]["method"]
    assert differences(config, old) == []
    chosen = _parse("--preset", "demo", "--prune.method", "rigl")
    assert differences(chosen, old) == ["--prune.method is rigl, was None"]


def test_segmentation_has_the_classes_of_the_data():
    config = _parse(
        *("--data.name", "cityscapes", "--task.name", "segmentation"),
        *("--task.options", "class_weights=" + ",".join(["1"] * 19)),
    )
    config.rehearse([])
    task = config.task.create(config)
    assert (task.num_classes, task.ignore) == (19, 255)
    assert task.class_weights == (1,) * 19
    other = replace(config.task, options=("num_classes=3", "ignore=0"))
    found = other.create(replace(config, task=other))
    assert (found.num_classes, found.ignore) == (3, 0)
    wrong = replace(config.task, options=("class_weights=1,2",))
    with pytest.raises(ValueError, match=r"--task.name: class_weights must be 19"):
        wrong.create(replace(config, task=wrong))


def test_folders_are_read_from_the_directory_of_the_data(tmp_path):
    config = _parse("--data.name", "folders", "--task.name", "segmentation")
    with pytest.raises(ValueError, match="'folders' needs data_dir"):
        config.rehearse([])
    config = _parse("--data.name", "folders", "--data.dir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*dataset.json"):
        config.data.load()
