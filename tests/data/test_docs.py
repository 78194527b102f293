"""The code of docs/your_data.md runs as it stands, and its files are read."""

import re
from pathlib import Path

from dst_jax import data

TEXT = (Path(__file__).parents[2] / "docs" / "your_data.md").read_text()


def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", TEXT.partition("<!--")[0], re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(compile(block, "docs/your_data.md", "exec"), names)
    assert names["sizes"] == (36, 12, 12)
    spots = data.load("arrays:spots.npz")
    assert spots.class_names == ("dark", "light")
    assert spots.test.example(0).image.mean() < 120
    (tmp_path / "shapes.py").write_text("import numpy as np\n" + blocks[1])
    monkeypatch.syspath_prepend(tmp_path)
    found = data.load("shapes:squares", mean=[0.5], std=[0.5])
    assert (found.mean, data.fingerprint(found)["loaded_as"]) == (
        (0.5,),
        "shapes:squares",
    )
