import subprocess
import sys

import numpy as np
import pytest

from dst_jax.report.figures import comparison as comparison_plots
from dst_jax.report.figures import style
from dst_jax.report.figures import training as plots
from dst_jax.report.load import load


def dots(axes):
    """The dots of every stage: `{title: [(value, row), ...]}`."""
    return {
        points.get_label(): np.asarray(points.get_offsets())
        for points in axes.collections
        if not points.get_label().startswith("_")
    }


def labels(axes):
    return [tick.get_text() for tick in axes.get_yticklabels()]


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_sparsity_per_layer_shows_every_map_and_kernel(make_run):
    figure = plots.sparsity_per_layer(load(make_run()))
    left, right = figure.axes
    assert labels(left) == ["relu1", "relu2"]
    np.testing.assert_allclose(dots(left)["dual sparse"], [[75, 0], [80, 1]])
    np.testing.assert_allclose(dots(left)["dense baseline"], [[25, 0], [50, 1]])
    assert labels(right) == ["conv1/kernel", "fc/kernel"]
    np.testing.assert_allclose(dots(right)["pruned"], [[20, 0], [220 / 3, 1]])


def test_flops_per_layer_shows_shares_and_numbers(make_run):
    figure = plots.flops_per_layer(load(make_run()))
    left, right = figure.axes
    np.testing.assert_allclose(dots(left)["dual sparse"], [[200 / 3, 0], [2.5, 1]])
    np.testing.assert_allclose(dots(right)["dual sparse"], [[4e-4, 0], [1e-5, 1]])
    assert [bar.get_width() for bar in right.patches] == pytest.approx([6e-4, 4e-4])


def test_the_input_is_at_the_top(make_run):
    left, _ = plots.sparsity_per_layer(load(make_run())).axes
    bottom, top = left.get_ylim()
    assert bottom > top


def test_training_joins_the_phases_and_marks_their_starts(make_run):
    top, bottom = plots.training(load(make_run())).axes
    holdout = [line for line in top.lines if line.get_marker() == "."]
    assert np.concatenate([line.get_xdata() for line in holdout]).tolist() == list(
        range(1, 11)
    )
    starts = [line.get_xdata()[0] for line in top.lines if line.get_linestyle() == ":"]
    assert starts == [2, 4, 6, 8]
    tested = lines(top)["test, end of stage"]
    np.testing.assert_allclose(
        tested.get_xydata().T, [[2, 4, 8, 10], [90, 91, 88, 90.5]]
    )
    sparsity = lines(bottom)["activations (element), test"]
    np.testing.assert_allclose(sparsity.get_ydata()[-1], 76)


def test_without_a_hold_out_the_training_accuracy_is_shown(make_run):
    top, _ = plots.training(load(make_run(holdout=False))).axes
    assert "hold-out" not in lines(top)
    accuracy = lines(top)["training batches"].get_ydata()
    np.testing.assert_allclose(accuracy, [81, 82, 83, 84])


def test_a_bad_start_does_not_flatten_the_accuracy_of_the_stages(make_run):
    path = make_run()
    line = '{"kind": "train", "stage": "pretrain", "phase": "pretrain", "epoch": 0.1, '
    with (path / "metrics.jsonl").open("a") as file:
        file.write(line + '"accuracy": 0.1}\n')
    top, _ = plots.training(load(path)).axes
    assert top.get_ylim()[0] == pytest.approx(88 - 20)


def test_training_can_be_drawn_without_metrics(make_run):
    path = make_run()
    (path / "metrics.jsonl").unlink()
    top, _ = plots.training(load(path)).axes
    assert lines(top)["test, end of stage"].get_xdata().tolist() == [0, 0, 0, 0]


def test_a_figure_grows_with_the_layers(make_run):
    results = load(make_run())
    few = plots.sparsity_per_layer(results).get_size_inches()
    stage = results.stages[0]
    stage.activations.update(
        {f"relu{i}": stage.activations["relu1"] for i in range(70)}
    )
    many = plots.sparsity_per_layer(results).get_size_inches()
    assert many[0] == few[0]
    assert many[1] > few[1] + 10


def test_long_names_keep_their_end():
    figure, (axes,) = style.subplots(2.0, 2.0)
    style.label_layers(axes, ["a/" * 30 + "relu"])
    (label,) = labels(axes)
    assert len(label) == 30
    assert label.endswith("a/relu")
    assert label.startswith("…")
    assert figure.axes == [axes]


def test_png_is_the_same_every_time(make_run):
    results = load(make_run())
    assert style.png(plots.training(results)) == style.png(plots.training(results))


def test_a_dollar_sign_is_no_formula(make_run):
    results = load(make_run())
    stage = results.stages[0]
    stage.activations["$\\frac$"] = stage.activations["relu1"]
    assert style.png(plots.sparsity_per_layer(results)).startswith(b"\x89PNG")


def test_the_papers_stages_keep_their_colours():
    alone = style.colours(["dual sparse"])["dual sparse"]
    among = style.colours(["rigl", "other", "dual sparse"])
    assert among["dual sparse"] == alone
    assert len(set(among.values())) == 3


def test_accuracy_against_sparsity_leaves_the_control_off_the_line(make_run):
    run = load(make_run())
    (axes,) = comparison_plots.accuracy_against_sparsity([run]).axes
    (path,) = [line for line in axes.lines if len(line.get_xdata()) > 1]
    np.testing.assert_allclose(path.get_xydata(), [[30, 90], [27.8, 88], [76, 90.5]])
    assert len(axes.lines) == 5


def test_flops_drop_has_a_bar_per_stage_and_a_name_per_run(make_run):
    runs = [load(make_run("a")), load(make_run("b", finished=1))]
    (axes,) = comparison_plots.flops_drop(runs).axes
    drops = [bar.get_width() for bar in axes.patches]
    assert drops == pytest.approx([30, 32, 55, 59, 30])
    assert labels(axes) == ["a", "b"]


def test_neither_jax_nor_pyplot_is_imported():
    code = (
        "import sys, dst_jax.report; "
        "print([m for m in ('jax', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
