"""docs/accelerators.md says what is so."""

import re
from pathlib import Path

import pytest

from benchmarks.accelerators.__main__ import show_sources
from dst_jax.cost import accelerators

PAGE = (Path(__file__).parents[3] / "docs/accelerators.md").read_text()


@pytest.mark.slow
def test_the_programs_run(capsys):
    names = {}
    for program in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(program, names)
    printed = capsys.readouterr().out
    assert "sparse" in printed
    assert "(1000,)" in printed


def test_sources_are_the_code_s(capsys):
    show_sources()
    assert capsys.readouterr().out in PAGE


def test_every_preset_is_described():
    assert all(f"**{name}** - " in PAGE for name in accelerators.names())
