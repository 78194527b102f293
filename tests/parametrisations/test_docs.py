"""The code of docs/parametrisations.md runs as it stands, and its figures are so."""

import re
from pathlib import Path

import pytest

from dst_jax import parametrisations

TEXT = (Path(__file__).parents[2] / "docs" / "parametrisations.md").read_text()


@pytest.mark.slow
def test_the_code_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/parametrisations.md", "exec"), names)
    assert names["value"] < names["loss"](names["blocks"])
    for block in names["weights"].values():
        assert (block["kernel"] == 0).mean() == 0.75


def test_it_names_every_public_function():
    functions = [name for name in parametrisations.__all__ if name.islower()]
    assert {"identity", "gated"} < set(functions)
    for name in functions:
        assert re.search(rf"`{name}\b", TEXT), name
