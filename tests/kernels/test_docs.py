"""The code of docs/kernels.md runs as it stands, and its table is true."""

import re
from pathlib import Path

from dst_jax import kernels
from dst_jax.kernels import Kernel

TEXT = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()


def test_the_code_runs_and_the_table_is_true():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/kernels.md", "exec"), names)
    rows = re.findall(r"^\| `([\w/]+)` \(([\d, ]+)\) \| (?:`(.*?)`|none)", TEXT, re.M)
    assert len(rows) == 4
    found, params = names["found"], names["params"]
    for path, shape, kernel in rows:
        leaf = params
        for part in path.split("/"):
            leaf = leaf[part]
        assert leaf.shape == tuple(map(int, shape.split(",")))
        stated = eval(kernel, {"Kernel": Kernel}) if kernel else None
        assert found.find(path) == stated
    assert {path.rpartition("/")[2] for path in found} == {"kernel"}
    assert names["shapes"] == [(32, 32)] * 6
    assert names["layers"]["attention"]["query"]["kernel"].shape == (32, 32)
    assert names["same"]["layers"]["fc"]["kernel"].shape == (6, 32, 32)


def test_it_names_every_public_function():
    for name in kernels.__all__:
        if name.islower() and name != "auxiliary":
            assert re.search(rf"\b{name}\b", TEXT), name
