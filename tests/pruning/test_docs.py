"""The code of docs/pruning.md runs as it stands, and its table names every method."""

import re
from pathlib import Path

import jax.numpy as jnp
import pytest

from dst_jax import pruning

TEXT = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text()


@pytest.mark.slow
def test_the_code_runs(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/pruning.md", "exec"), names)
    assert "exploration" in capsys.readouterr().out
    state = names["tx"].init({"w": jnp.ones((10, 10))})
    assert pruning.get_mask(state)["w"].sum() == 20


def test_the_table_names_every_method():
    for name in pruning.names():
        assert f"| `{name}` |" in TEXT
