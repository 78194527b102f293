import numpy as np
import pytest

from dst_jax import report
from dst_jax.report.figures import mask_updates, sparser_channels
from dst_jax.report.load import load
from dst_jax.runs import Run


def line(epoch, active, grown, *, explored=None):
    """Two layers of 50 and 150 weights; the first is always dense."""
    layers = {
        "conv1/kernel": {"active": 50, "weights": 50, "grown": 0, "dropped": 0},
        "fc/kernel": {"active": active, "weights": 150, "grown": grown, "dropped": 5},
    }
    for layer in layers.values():
        layer["density"] = layer["active"] / layer["weights"]
        if explored is not None:
            layer["exploration"] = explored
    stage = {"stage": "sparsify_weights", "phase": "finetune", "step": 1}
    return stage | {"epoch": epoch, "layers": layers}


@pytest.fixture
def logged(make_run):
    def make(*lines):
        path = make_run()
        for record in lines:
            Run(path).log_masks(record)
        return path

    return make


def test_shares_are_of_all_layers_together(logged):
    results = load(logged(line(0.5, 50, 10), line(1.0, 30, 8)))
    left, right = mask_updates.draw(results).axes
    total, name = left.lines[-1], "sparsify_weights: finetune"
    assert total.get_label() == name
    # pretrain, control and induce take two epochs each
    np.testing.assert_allclose(total.get_xydata(), [[6.5, 50], [7.0, 40]])
    found = {li.get_label(): li.get_ydata() for li in right.lines}
    np.testing.assert_allclose(found[f"{name}, grown"], [10, 10])
    np.testing.assert_allclose(found[f"{name}, dropped"], [5, 6.25])
    assert f"{name}, explored" not in found


def test_every_layer_has_a_line(logged):
    left, _ = mask_updates.draw(load(logged(line(0.5, 75, 10), line(1.0, 30, 8)))).axes
    conv, fc, _ = left.lines
    np.testing.assert_allclose(conv.get_ydata(), [100, 100])
    np.testing.assert_allclose(fc.get_ydata(), [50, 20])


def test_exploration_is_weighted_by_the_layers_sizes(logged):
    record = line(1.0, 50, 10, explored=0.5)
    record["layers"]["conv1/kernel"]["exploration"] = 1.0
    _, right = mask_updates.draw(load(logged(record))).axes
    assert right.lines[-1].get_label().endswith("explored")
    np.testing.assert_allclose(right.lines[-1].get_ydata(), [100 * (50 + 75) / 200])


def test_the_report_has_the_figure_only_where_masks_were_logged(logged):
    path = logged(line(0.5, 50, 10))
    assert "Masks of sparse training" in report.write(path).read_text()
    assert (path / "figures/masks.png").exists()
    (path / "masks.jsonl").unlink()
    assert "Masks of sparse training" not in report.write(path).read_text()


@pytest.mark.slow
def test_channels_are_drawn_where_they_were_counted(logged):
    old, new = line(0.5, 50, 10), line(1.0, 50, 10)
    for layer, sparser in zip(new["layers"].values(), (3, 6), strict=True):
        layer |= {"channels": 10, "sparser_channels": sparser, "empty_channels": 1}
    path = logged(old, new)
    assert sparser_channels.share_of_channels(new) == 0.45
    left, right = sparser_channels.draw(load(path)).axes
    found = {li.get_label().split(", ")[-1]: li.get_xydata() for li in left.lines}
    np.testing.assert_allclose(found["sparser"], [[7.0, 45]])
    np.testing.assert_allclose(found["empty"], [[7.0, 10]])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [30, 60])
    title = "Channels that are sparser than their layer"
    assert title in report.write(path).read_text()
    (path / "masks.jsonl").unlink()
    assert title not in report.write(logged(old)).read_text()
