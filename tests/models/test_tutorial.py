"""docs/smaller_networks.md runs as it stands, and prints what it says."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import jax
import pytest

from experiments import export, mnist_lenet5
from experiments.running.command_line import parse, parse_preset

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "smaller_networks.md").read_text()
PRINTED = r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?"
BLOCKS = re.findall(PRINTED, TEXT, re.DOTALL)
NUMBER = r"\d+(?:\.\d+)?(?:e-\d+)?"

pytestmark = pytest.mark.slow


def _run(blocks, names):
    """Executes blocks of code; what they print must be like the text below them."""
    for code, said in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/smaller_networks.md", "exec"), names)
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
    at = next(i for i, (code, _) in enumerate(BLOCKS) if "import torch" in code)
    return BLOCKS[:at], BLOCKS[at:]


@pytest.fixture(scope="module")
def ran(split, tmp_path_factory):
    """What the first part leaves: its names, and the folder with its file."""
    names, folder = {}, tmp_path_factory.mktemp("tutorial")
    # Compiled as users compile it: which units go depends on rounding.
    quick = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        with contextlib.chdir(folder):
            _run(split[0], names)
    finally:
        jax.config.update("jax_disable_most_optimizations", quick)
    return names, folder


def test_the_smaller_network_is_half_as_costly_and_as_good(ran):
    names, folder = ran
    left = names["multiplications"](names["keep"])
    assert left <= names["multiplications"]({}) / 2
    assert names["correct"](names["small"]) >= names["correct"](names["network"]) - 6
    assert (folder / "lenet5.safetensors").exists()


def test_its_commands_are_understood():
    (text,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = text.replace("\\\n", " ").splitlines()
    train, write = (shlex.split(line.removeprefix("python -m ")) for line in lines)
    assert (train[0], write[0]) == ("experiments.mnist_lenet5", "experiments.export")
    config = parse_preset(mnist_lenet5.PRESETS, train[1:], name="", doc="")
    config.check()
    steps = [stage.path for stage in config.stages() if stage.name == "remove_channels"]
    assert len(steps) == config.channels.steps == 3
    options = parse(export.Options, write[1:], name="", doc="")
    assert options.run_dir == config.run.dir


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
