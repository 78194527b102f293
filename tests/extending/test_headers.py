"""The command at the head of each file of this directory is one that works."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from experiments import mnist_lenet5
from experiments.running.command_line import parse_preset

FILES = sorted(Path(__file__).parent.glob("my_*.py"))
README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_command_makes_a_run_with_it(file):
    doc = importlib.import_module(file.stem).__doc__
    command = doc.partition("COMMAND")[2].replace("\\\n", " ")
    prefix = "python -m experiments.mnist_lenet5"
    assert command.strip().startswith(prefix)
    assert f"{file.stem}:" in command
    _plan(shlex.split(command)[3:])


def test_readme_names_the_same_options():
    section = README.read_text().partition("## Adding your own")[2].partition("\n## ")
    (block,) = re.findall(r"```\n(.*?)```", section[0], re.DOTALL)
    lines = block.splitlines()
    assert len(lines) == 7
    for line in lines:
        _plan(["--preset", "demo", *shlex.split(line, comments=True)])
    named = re.findall(r"(my_\w+):", section[0])
    assert {file.stem for file in FILES} == set(named)


def _plan(argv):
    """All that a command does before it reads data."""
    presets = mnist_lenet5.PRESETS
    config = parse_preset(presets, argv, name="mnist_lenet5", doc="")
    config.check()
    config.rehearse(config.stages())
