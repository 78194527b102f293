"""docs/smaller_networks.md runs as it stands, and prints what it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "smaller_networks.md").read_text()
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", TEXT, re.DOTALL)
NUMBER = r"\d+(?:\.\d+)?(?:e-\d+)?"

pytestmark = pytest.mark.slow


def _run(blocks, names):
    """Executes blocks of code; what they print must be like the text below them."""
    for i, (kind, code) in enumerate(blocks):
        if kind == "text":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/smaller_networks.md", "exec"), names)
        said = (
            blocks[i + 1][1]
            if blocks[i + 1 : i + 2] and blocks[i + 1][0] == "text"
            else ""
        )
        _alike(printed.getvalue(), said)


def _alike(found, said):
    """The same words; counts that another machine may round into others."""
    assert re.sub(NUMBER, "#", found) == re.sub(NUMBER, "#", said)
    pairs = zip(
        *(map(float, re.findall(NUMBER, x)) for x in (found, said)), strict=True
    )
    for ours, theirs in pairs:
        if theirs < 1:
            assert ours < 1e-5, said
        else:
            assert abs(ours - theirs) <= 2 + 0.1 * theirs, (found, said)


@pytest.fixture(scope="module")
def split():
    """The blocks before PyTorch is imported, and those from there on."""
    at = next(i for i, (_, code) in enumerate(BLOCKS) if "import torch" in code)
    return BLOCKS[:at], BLOCKS[at:]


@pytest.fixture(scope="module")
def ran(split, tmp_path_factory):
    """What the first part leaves: its names, and the folder with its file."""
    names, folder = {}, tmp_path_factory.mktemp("tutorial")
    with contextlib.chdir(folder):
        _run(split[0], names)
    return names, folder


def test_the_smaller_network_is_half_as_costly_and_as_good(ran):
    names, folder = ran
    left = names["multiplications"](names["keep"])
    assert left <= names["multiplications"]({}) / 2
    assert names["correct"](names["small"]) >= names["correct"](names["network"]) - 6
    assert (folder / "lenet5.safetensors").exists()


@pytest.mark.torch
def test_pytorch_computes_the_same(torch, split, ran, monkeypatch):
    del torch
    names, folder = ran
    codes = re.findall(r"```python\n(.*?)```", (DOCS / "export.md").read_text(), re.S)
    (code,) = [code for code in codes if "def fit" in code]
    (folder / "fit.py").write_text(code)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    _run(split[1], dict(names))
