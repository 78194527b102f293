"""The code of docs/channels.md runs as it stands."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "channels.md").read_text()


@pytest.mark.slow
def test_the_code_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/channels.md", "exec"), names)
    cost, x, variables = names["relaxed"], names["x"], names["variables"]
    spent = cost.exact(names["keep"], variables, x)[0]
    assert 0.9 * names["half"] < spent <= names["half"]
    assert names["logits"].shape == (2, 10)
