"""Options of the stage that removes channels."""

import pytest

from experiments.options import ChannelOptions, Config, RunOptions

STAGES = RunOptions(stages=("pretrain", "remove_channels"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ratio": 0.5}, "give one and set the others to None, got 0.5, 0.5, None"),
        ({"budget": None}, "give one and set the others to None, got None, None, None"),
        ({"budget": 0.0}, r"--channels.budget must be in \(0, 1\], got 0.0"),
        ({"budget": None, "ratio": 1.0}, r"--channels.ratio must be in \[0, 1\)"),
        ({"floor": 1.5}, "--channels.floor must be a share below 1 or a whole number"),
        ({"maps": ("relu",)}, "--channels.maps is for --channels.distillation"),
        ({"steps": 0}, "--channels.steps must be at least 1"),
        ({"distillation": float("nan")}, "--channels.distillation must be >= 0"),
        ({"threshold": float("inf")}, "--channels.threshold must be"),
    ],
)
def test_values_and_contradictions_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Config(channels=ChannelOptions(**options), run=STAGES).check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": "l3"}, "--channels: score must be one of"),
        ({"solver": "best"}, "--channels: solver must be one of"),
        ({"rules": ("conv",)}, "--channels.rules: 'conv' must be NAME=VALUE"),
        ({"distillation": 1.0, "maps": ("(",)}, "--channels.maps: .* regular"),
    ],
)
def test_names_are_checked_before_data_is_read(options, said):
    config = Config(channels=ChannelOptions(**options), run=STAGES)
    config.check()
    with pytest.raises(ValueError, match=said):
        config.stages()


def test_options_without_the_stage_are_refused():
    with pytest.raises(ValueError, match=r"--channels.budget is for the stage"):
        Config(channels=ChannelOptions(budget=0.25)).check()


def test_they_reach_the_stage():
    options = ChannelOptions(
        budget=0.25, floor=0.5, steps=2, epochs=3, distillation=20.0, score="math:sqrt"
    )
    one, two = Config(channels=options, run=STAGES).stages()[1:]
    assert one.path == "remove_channels.step1"
    assert one.start == "pretrain"
    assert two.epochs == 1.5
    assert one.on_entry.choice.floor == 0.5
    assert one.on_entry.distillation.strength == 20.0
    assert isinstance(ChannelOptions(floor=3).choice().floor, int)
