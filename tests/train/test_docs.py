"""The code of docs/segmentation.md runs as it stands, and what it says is so."""

import re
from pathlib import Path

import pytest

from dst_jax import data
from dst_jax.data.recipes import recipe_of

TEXT = (Path(__file__).parents[2] / "docs" / "segmentation.md").read_text()


@pytest.mark.slow
def test_the_code_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/segmentation.md", "exec"), names)
    assert names["metrics"]["mean_iou"] == pytest.approx(0.5)
    assert names["metrics"]["pixel_accuracy"] == pytest.approx(2 / 3)
    assert names["shapes"] == ((8, 32, 32, 1), (8, 32, 32))


def test_it_names_every_data_set_of_label_maps():
    own = [name for name in data.names() if recipe_of(name).label_maps is not None]
    assert len(own) == 7
    for name in own:
        assert f"`{name}`" in TEXT
