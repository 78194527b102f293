"""The code of docs/channels.md runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from dst_jax import trees

TEXT = (Path(__file__).parents[2] / "docs" / "channels.md").read_text()


@pytest.mark.slow
def test_the_code_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/channels.md", "exec"), names)
    cost, x, variables = names["relaxed"], names["x"], names["variables"]
    keep = names["keep"]
    assert cost.exact(keep, variables, x)[0] <= names["half"]
    assert not all(kept.all() for kept in keep.values())
    for name, kept in keep.items():
        if kept.all():
            continue
        more = kept | (np.arange(kept.size) == kept.argmin())
        assert cost.exact({**keep, name: more}, variables, x)[0] > names["half"]
    assert names["logits"].shape == (2, 10)
    once, twice = names["small"], names["smallest"]
    assert trees.count(twice) < trees.count(once) < trees.count(variables)
    assert names["again"] == names["both"]
