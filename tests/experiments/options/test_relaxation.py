"""Options of continuous relaxation."""

import pytest

from experiments.options import Config, RelaxationOptions, RunOptions

STAGES = RunOptions(stages=("pretrain", "relaxation"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": (1.5,)}, r"--relaxation.thresholds must be in \[0, 1\]"),
        ({"thresholds": ()}, "--relaxation.thresholds must have that of the last"),
        ({"first": 7}, "--relaxation.first must be one of the 6 searches, got 7"),
        ({"ramp": (2.0, 1.0)}, "--relaxation.ramp must be two epochs in order"),
        ({"penalty": "l1"}, "--relaxation.penalty is for --relaxation.push penalty"),
        ({"push": "penalty"}, "--relaxation.penalty .* has to be given"),
        ({"target": 2.0}, r"--relaxation.target must be in \[0, 1\]"),
        ({"sharpness": 0.0}, "--relaxation.sharpness must be > 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(relaxation=RelaxationOptions(**options), run=STAGES).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"push": "penalty", "penalty": "l3"}, "--relaxation.penalty: .*'l3'"),
        ({"rules": ("conv",)}, "--relaxation.rules: 'conv' must be NAME=VALUE"),
    ],
)
def test_what_the_library_refuses_names_the_option(options, message):
    config = Config(relaxation=RelaxationOptions(**options), run=STAGES)
    config.check()
    with pytest.raises(ValueError, match=message):
        config.stages()


def test_options_without_the_stage_are_refused():
    with pytest.raises(ValueError, match=r"--relaxation.target is for the stage"):
        Config(relaxation=RelaxationOptions(target=0.25)).check()


def test_the_phases_have_the_options():
    options = RelaxationOptions(
        thresholds=(0.1, 0.2), epochs=3, finetune_epochs=4, first=2, init_epochs=9
    )
    _, search, last = Config(relaxation=options, run=STAGES).stages()
    assert [search.path, last.path] == ["relaxation.search2", "relaxation.finetune"]
    assert (search.epochs, last.epochs, search.start) == (3, 4, "pretrain")
    assert (search.on_entry.threshold, last.on_entry.threshold) == (0.1, 0.2)
    assert last.on_entry.last
    assert last.completed_by is None
