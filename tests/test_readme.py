"""README says what is so."""

import importlib
import re
from pathlib import Path

import pytest

from dst_jax import data, models
from experiments import imagenet_resnet18, sparse_training

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.slow
def test_the_training_loop_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    namespace = {}
    exec(program, namespace)
    effectual, drop = capsys.readouterr().out.split()
    mask = namespace["mask"]["params"]["fc2"]["kernel"]
    assert 0 < int(effectual) <= 32 * int(mask.sum())
    assert float(drop) > 0.6


@pytest.mark.parametrize("name", ["mnist", "imagenet2012"])
def test_data_sets_it_names_exist(name):
    assert f"prepare {name}" in README
    assert name in data.names()


def test_presets_it_names_exist():
    commands = re.findall(r"experiments\.(\w+) --preset (\w+)", README)
    assert len(commands) > 3
    for experiment, preset in commands:
        module = importlib.import_module(f"experiments.{experiment}")
        assert preset in module.PRESETS
    named = set(re.findall(r"--preset (\w+)", README))
    assert named <= imagenet_resnet18.PRESETS.keys() | sparse_training.PRESETS.keys()
    assert "resnet18" in models.names()
