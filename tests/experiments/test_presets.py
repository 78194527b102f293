"""Every experiment's presets, and the refusal of one that it does not have."""

import importlib
import pkgutil

import pytest

import experiments
from experiments.running.command_line import parse_preset
from experiments.running.launch import main

FOUND = {
    module.name: presets
    for module in pkgutil.iter_modules(experiments.__path__)
    if not module.ispkg and module.name != "background"
    for presets in [
        getattr(importlib.import_module(f"experiments.{module.name}"), "PRESETS", None)
    ]
    if presets
}
WITHOUT_DEMO = sorted(name for name, presets in FOUND.items() if "demo" not in presets)


def test_some_experiments_have_no_demo():
    assert "imagenet_resnet50" in WITHOUT_DEMO
    assert "mnist_lenet5" not in WITHOUT_DEMO


@pytest.mark.parametrize("name", WITHOUT_DEMO)
@pytest.mark.parametrize("preset", ["demo", "full_9999", "nothing"])
def test_a_preset_that_an_experiment_lacks_is_refused_in_one_line(name, preset, capsys):
    with pytest.raises(SystemExit) as caught:
        main(name, FOUND[name], doc="", argv=["--preset", preset])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(
        f"error: --preset must be one of {tuple(FOUND[name])} for experiments.{name},"
        f" got {preset!r}"
    )


@pytest.mark.parametrize(
    ("name", "argv", "preset", "default"),
    [
        ("imagenet_resnet18", ["--help"], "full", "imagenet2012"),
        ("imagenet_resnet18", ["-h", "--preset=demo"], "demo", "digits"),
        ("sparse_training", ["--help", "--preset", "cifar100"], "cifar100", "cifar100"),
    ],
)
def test_help_shows_the_defaults_of_the_preset_and_says_which(
    name, argv, preset, default, capsys
):
    with pytest.raises(SystemExit) as caught:
        parse_preset(FOUND[name], argv, name=name, doc="An experiment.\n")
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert (
        f"An experiment. DEFAULTS BELOW those of --preset {preset}; for others" in said
    )
    for other in FOUND[name].keys() - {preset}:
        assert f"--preset {other}" in said
    options = said.partition("--data.name")[2]
    assert options.partition("(default: ")[2].startswith(f"{default})")


def test_help_for_a_preset_that_is_not_there_is_refused(capsys):
    argv = ["--preset", "smal", "--help"]
    with pytest.raises(SystemExit) as caught:
        parse_preset(FOUND["mnist_lenet5"], argv, name="mnist_lenet5", doc="")
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""
