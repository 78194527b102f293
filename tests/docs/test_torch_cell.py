"""The tutorial that ends in PyTorch, where the site's builder may have none."""

import re
from pathlib import Path

import jax
import pytest

PAGE = Path(__file__).parents[2] / "docs/tutorials/smaller_in_pytorch.md"


@pytest.mark.torch
@pytest.mark.slow
def test_the_smaller_network_is_the_same_in_pytorch(capsys):
    pytest.importorskip("torch")
    text = PAGE.read_text().replace("steps=400", "steps=2")
    names = {}
    with jax.numpy_rank_promotion("allow"):
        for cell in re.findall(r"```\{code-cell\}\n(.*?)```", text, re.DOTALL):
            exec(cell, names)
    out = capsys.readouterr().out
    (difference,) = re.findall(r"largest difference: (\S+)", out)
    assert float(difference) < 1e-5
    assert names["theirs"].shape == (len(names["test_x"]), 10)
