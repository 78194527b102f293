"""A system is one group of options: a field of Config, and nothing else by name."""

from dataclasses import dataclass, field

import pytest

from dst_jax.train import Stage
from experiments.options import Config, config
from experiments.options.stage_names import makers, makes_stage
from experiments.running.command_line import parse_preset


@dataclass(frozen=True)
class AnnealOptions:
    """Stage of a made-up system."""

    epochs: float = 3
    """Length."""

    @makes_stage("anneal")
    def stages(self, config, *, start):
        optimizer = config.optim.optimizer(lr=0.1)
        return [
            Stage(name="anneal", epochs=self.epochs, optimizer=optimizer, start=start)
        ]


@dataclass(frozen=True)
class Bigger(Config):
    anneal: AnnealOptions = field(default_factory=AnnealOptions)


@pytest.fixture
def parse(monkeypatch):
    monkeypatch.setattr(config, "Config", Bigger)
    return lambda *argv: parse_preset({"full": Bigger()}, argv, name="test", doc="")


def test_a_new_group_reaches_the_command_line_and_the_run(parse):
    stages = ("--run.stages", "pretrain", "anneal", "sparsify_activations")
    made = parse(*stages, "--anneal.epochs", "5", "--run.control").stages()
    assert [(stage.path, stage.epochs, stage.start) for stage in made] == [
        ("pretrain", 90, None),
        ("control", 25, "pretrain"),
        ("anneal", 5, "pretrain"),
        ("sparsify_activations", 20, "anneal"),
    ]


def test_it_may_be_all_that_is_run(parse):
    initial, made = parse("--run.stages", "anneal", "--init.from", ".").stages()
    assert (initial.name, made.name, made.start) == ("initial", "anneal", "initial")


def test_help_and_errors_name_its_stage(parse, capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    said = "".join(capsys.readouterr().out.replace("│", "").split())
    assert "sparsify_jointly,anneal,MODULE:ATTRIBUTE}...]" in said
    assert "(default:pretrainsparsify_weightssparsify_activations)" in said
    with pytest.raises(SystemExit):
        parse("--run.stages", "aneal")
    assert "'anneal'" in capsys.readouterr().err


def test_the_order_of_names_is_that_of_the_groups():
    assert list(makers(Config)) == [
        "pretrain",
        "sparsify_weights",
        "remove_channels",
        "relaxation",
        "sparsify_activations",
        "sparsify_jointly",
    ]


def test_a_name_belongs_to_one_group():
    @dataclass(frozen=True)
    class Twice(Bigger):
        again: AnnealOptions = field(default_factory=AnnealOptions)

    with pytest.raises(ValueError, match="'anneal' is made by two groups"):
        makers(Twice)
