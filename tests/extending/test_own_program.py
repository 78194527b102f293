"""The program of docs/your_data.md: a network of one's own on one's own images.

It is started as a user starts it, and its run is opened again by the commands.
"""

import contextlib
import functools
import io
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dst_jax import train
from experiments import accelerators, export, traces
from experiments.running import finished_run

pytestmark = pytest.mark.slow

DOCS = (Path(__file__).parents[2] / "docs" / "your_data.md").read_text()
MOST_LINES = 15


def program():
    """The program, as the docs have it."""
    block = DOCS.partition("<!-- own network -->")[2]
    return re.findall(r"```python\n(.*?)```", block, re.DOTALL)[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The directory of the program, its photographs and, once it has run, its run."""
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for i in range(50):
        pixels = rng.integers(0, 90, (70, 80, 3)).astype(np.uint8)
        pixels[:, :: 2 + 6 * (i % 2)] += 150
        file = root / "flowers" / ("daisy", "rose")[i % 2] / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    (root / "my_cnn.py").write_text(program())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.syspath_prepend(root)
        # As it is, but for the epochs.
        lengths = {"pretrain": 1, "induce": 0, "finetune": 1, "activation": 1}
        short = {f"{x}_epochs": n for x, n in lengths.items()}
        shorter = functools.partial(train.stages.dual_sparse, **short)
        patch.setattr(train.stages, "dual_sparse", shorter)
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path("my_cnn.py", run_name="__main__")
        yield root
    sys.modules.pop("my_cnn", None)


def _json(path):
    return json.loads(path.read_text())


def test_it_has_fifteen_lines_of_public_names():
    lines = [line for line in program().splitlines() if line.strip()]
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 88
    names = re.findall(r"(?<!\w)_\w+", program())
    assert set(names) == {"__call__", "__name__", "__main__"}


def test_it_goes_through_three_stages_to_a_report(place):
    summary = _json(place / "run" / "summary.json")
    titles = [row["title"] for row in summary["stages"]]
    assert titles == ["dense baseline", "pruned", "dual sparse"]
    assert summary["stages"][2]["weight_sparsity"] == pytest.approx(0.6, abs=1e-3)
    html = (place / "run" / "report.html").read_text()
    assert "daisy, rose" in html
    assert "folder:flowers: train 36, holdout 4, test 10" in html
    assert (place / "run" / "figures" / "training.png").exists()


def test_the_record_has_what_was_found(place):
    record = _json(place / "run" / "config.json")
    assert record["model"]["name"] == "my_cnn:CNN"
    assert record["data"]["class_names"] == ["daisy", "rose"]
    assert 0.2 < record["data"]["mean"][0] < 0.6


def test_its_run_is_exported_where_there_are_no_images(place, tmp_path):
    with elsewhere(place, tmp_path):
        assert export.main(["run", "--out", str(tmp_path / "out")]) == 0
    card = _json(tmp_path / "out" / "card.json")
    record = _json(place / "run" / "config.json")
    assert card["class_names"] == ["daisy", "rose"]
    assert card["input"]["mean"] == record["data"]["mean"]
    summary = _json(place / "run" / "summary.json")
    assert card["params_sha256"] == summary["params_sha256"]


def test_its_run_is_opened_again_with_images_that_have_moved(place, tmp_path, capsys):
    with elsewhere(place, tmp_path):
        assert accelerators.main(["run", "--names", "dense"]) != 0
        error = capsys.readouterr().err
        assert "'folder:flowers': flowers does not exist" in error
        assert "--data-name" in error
        moved = f"folder:{tmp_path / 'flowers'}"
        masks = ["--out", str(tmp_path / "masks.npz"), "--images", "1"]
        assert traces.main(["run", *masks, "--data-name", moved]) == 0
        assert "the data set's name was folder:flowers" in capsys.readouterr().out
        context = finished_run.reopen("run", data_name=moved)
        network = finished_run.network_at_end(context, "sparsify_activations")
        found = context.evaluate(network, context.dataset.holdout, count=False)
    assert found.weight_sparsity == pytest.approx(0.6, abs=1e-3)
    assert "the data set's name was folder:flowers" in capsys.readouterr().out


@contextlib.contextmanager
def elsewhere(place, other):
    """As if the images were in another directory."""
    moved = (place / "flowers").rename(other / "flowers")
    try:
        yield
    finally:
        moved.rename(place / "flowers")
