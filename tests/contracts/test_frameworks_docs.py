"""The code of docs/frameworks.md runs as it stands."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
def test_the_code_runs(capsys):
    names = {}
    for block in BLOCKS:
        if "haiku" in block and importlib.util.find_spec("haiku") is None:
            continue
        exec(compile(block, "docs/frameworks.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "{'relu1': (2, 8)}\n['fc1', 'fc2']" in printed
    assert "Evaluated 4\n" in printed
    assert "4 (4, 10) ['conv', 'head']" in printed
    assert np.isfinite(names["losses"]).all()
    assert names["losses"][-1] < names["losses"][0]
    assert np.isfinite(names["loss"])
