"""Commands that the pages name exist, and their options are understood."""

import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from experiments.grid.options import GridOptions
from experiments.running.command_line import parse_preset

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"python3? (?:\\\n)?\s*-m ((?:experiments|benchmarks|dst_jax)\S*)(.*)"
)


def _commands():
    for file in sorted([*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md")]):
        for language, block in BLOCK.findall(file.read_text()):
            if language not in ("", "sh"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                for module, rest in COMMAND.findall(line):
                    yield pytest.param(module, rest, id=f"{file.stem}: {module}{rest}")


@pytest.mark.slow
@pytest.mark.parametrize(("module", "rest"), list(_commands()))
def test_the_command_is_understood(module, rest):
    assert importlib.util.find_spec(module), module
    if not module.startswith("experiments."):
        return
    presets = getattr(importlib.import_module(module), "PRESETS", {})
    words = shlex.split(rest.rstrip("'"), comments=True)
    if not words or not words[0].startswith("--") or "pretrain" not in _fields(presets):
        return  # a run to work on, or a grid with options of its own
    config = parse_preset(presets, words, name=module, doc="")
    if isinstance(config, GridOptions):
        config.check()
        assert config.comparison().cells
    elif config.init.path is None:  # what it names is not here
        config.check()
        config.stages()


def _fields(presets):
    return vars(next(iter(presets.values()))) if presets else {}
