import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dst_jax import penalties, pruning, report
from dst_jax.report import figures
from dst_jax.report.figures import (
    OF_A_RUN,
    OF_SEVERAL_RUNS,
    accuracy_against_sparsity,
    flops_drop,
    flops_per_layer,
    layer_rows,
    pixel_labels,
    sparsity_per_layer,
    style,
    training_curves,
)
from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.load import load
from dst_jax.report.picture_records import Picture, Pictures
from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.training_phases import phases


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
    figure = sparsity_per_layer.draw(load(make_run()))
    left, right = figure.axes
    assert labels(left) == ["relu1", "relu2"]
    np.testing.assert_allclose(dots(left)["dual sparse"], [[75, 0], [80, 1]])
    np.testing.assert_allclose(dots(left)["dense baseline"], [[25, 0], [50, 1]])
    assert labels(right) == ["conv1/kernel", "fc/kernel"]
    np.testing.assert_allclose(dots(right)["pruned"], [[20, 0], [220 / 3, 1]])


def test_flops_per_layer_shows_shares_and_numbers(make_run):
    figure = flops_per_layer.draw(load(make_run()))
    left, right = figure.axes
    np.testing.assert_allclose(dots(left)["dual sparse"], [[200 / 3, 0], [2.5, 1]])
    np.testing.assert_allclose(dots(right)["dual sparse"], [[4e-4, 0], [1e-5, 1]])
    assert [bar.get_width() for bar in right.patches] == pytest.approx([6e-4, 4e-4])


def test_the_input_is_at_the_top(make_run):
    left, _ = sparsity_per_layer.draw(load(make_run())).axes
    bottom, top = left.get_ylim()
    assert bottom > top


def test_training_joins_the_phases_and_marks_their_starts(make_run):
    top, bottom = training_curves.draw(load(make_run())).axes
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
    top, _ = training_curves.draw(load(make_run(holdout=False))).axes
    assert "hold-out" not in lines(top)
    accuracy = lines(top)["training batches"].get_ydata()
    np.testing.assert_allclose(accuracy, [81, 82, 83, 84])


def test_a_bad_start_does_not_flatten_the_accuracy_of_the_stages(make_run):
    path = make_run()
    line = '{"kind": "train", "stage": "pretrain", "phase": "pretrain", "epoch": 0.1, '
    with (path / "metrics.jsonl").open("a") as file:
        file.write(line + '"accuracy": 0.1}\n')
    top, _ = training_curves.draw(load(path)).axes
    assert top.get_ylim()[0] == pytest.approx(88 - 20)


def test_training_can_be_drawn_without_metrics(make_run):
    path = make_run()
    (path / "metrics.jsonl").unlink()
    top, _ = training_curves.draw(load(path)).axes
    assert lines(top)["test, end of stage"].get_xdata().tolist() == [0, 0, 0, 0]


def test_a_figure_grows_with_the_layers(make_run):
    results = load(make_run())
    few = sparsity_per_layer.draw(results).get_size_inches()
    stage = results.stages[0]
    stage.activations.update(
        {f"relu{i}": stage.activations["relu1"] for i in range(70)}
    )
    many = sparsity_per_layer.draw(results).get_size_inches()
    assert many[0] == few[0]
    assert many[1] > few[1] + 10


def test_long_names_keep_their_end():
    figure, (axes,) = style.subplots(2.0, 2.0)
    layer_rows.label_layers(axes, ["a/" * 30 + "relu"])
    (label,) = labels(axes)
    assert len(label) == 30
    assert label.endswith("a/relu")
    assert label.startswith("…")
    assert figure.axes == [axes]


def test_png_is_the_same_every_time(make_run):
    results = load(make_run())
    assert style.png(training_curves.draw(results)) == style.png(
        training_curves.draw(results)
    )


def test_a_dollar_sign_is_no_formula(make_run):
    results = load(make_run())
    stage = results.stages[0]
    stage.activations["$\\frac$"] = stage.activations["relu1"]
    assert style.png(sparsity_per_layer.draw(results)).startswith(b"\x89PNG")


def test_the_papers_stages_keep_their_colours():
    alone = style.colours(["dual sparse"])["dual sparse"]
    among = style.colours(["rigl", "other", "dual sparse"])
    assert among["dual sparse"] == alone
    assert len(set(among.values())) == 3


@pytest.mark.parametrize(
    ("name", "others"),
    [("rigl", ["set", "dual sparse"]), ("halo", ["ac_dc", "pruned"]),
     ("l1", ["transformed_l1", "hoyer"]), ("mine:method", ["pruned", "rigl"])],
)  # fmt: skip
def test_a_name_has_one_colour_in_all_figures(name, others):
    among = style.colours([*others, name])
    assert style.colours([name])[name] == among[name]
    assert len(set(among.values())) == len(among)


def test_every_method_and_penalty_has_a_colour_of_its_own():
    for names in (pruning.names(), penalties.names()):
        assert len(set(style.colours(names).values())) == len(names)


def test_training_of_a_short_run_fills_the_figure():
    """One line of the log, at the end of the only epoch."""
    line = {"stage": "pretrain", "epoch": 1.0, "kind": "train", "accuracy": 0.5}
    stage = StageResults("pretrain", "dense baseline", {"top1": 0.75}, 8)
    run = RunResults(Path("run"), (stage,), phases=phases([line]))
    figure = training_curves.draw(run)
    figure.draw_without_rendering()  # a warning about the layout would be an error
    width = figure.get_window_extent().width
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert box.width > 0.9 * width
        title = axes._left_title.get_window_extent()
        assert axes.get_legend().get_window_extent().x0 > title.x1
        for name in axes.texts:
            assert box.x0 < name.get_window_extent().x0 < box.x1


def test_accuracy_against_sparsity_leaves_the_control_off_the_line(make_run):
    run = load(make_run())
    (axes,) = accuracy_against_sparsity.draw([run]).axes
    (path,) = [line for line in axes.lines if len(line.get_xdata()) > 1]
    np.testing.assert_allclose(path.get_xydata(), [[30, 90], [27.8, 88], [76, 90.5]])
    assert len(axes.lines) == 5


def test_flops_drop_has_a_bar_per_stage_and_a_name_per_run(make_run):
    runs = [load(make_run("a")), load(make_run("b", finished=1))]
    (axes,) = flops_drop.draw(runs).axes
    drops = [bar.get_width() for bar in axes.patches]
    assert drops == pytest.approx([30, 32, 55, 59, 30])
    assert labels(axes) == ["a", "b"]


def segmented(n, *, classes=3, ignore=255):
    """Stages that say of two images: class i everywhere, where the label is 1."""
    label = np.ones((4, 6), np.uint8)
    label[0] = ignore
    image = np.full((4, 6, 3), 50, np.uint8)
    return [
        StageResults(
            f"stage{i}",
            f"stage {i}",
            {"mean_iou": 0.5},
            8,
            pictures=Pictures(
                tuple(Picture(image, label, np.full_like(label, i)) for _ in range(2)),
                classes,
                ignore,
            ),
        )
        for i in range(n)
    ]


def test_pixel_labels_have_one_colour_for_each_class():
    run = RunResults(Path("run"), tuple(segmented(3)))
    figure = pixel_labels.draw(run)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:5] == ["image", "labels", "stage 0", "stage 1", "stage 2"]
    assert len(titles) == 10
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert shown[0].max() == 50
    labels, *said = shown[1:5]
    assert (labels[0] == 1).all()  # white: not counted
    assert (labels[1:] == said[1][1:]).all()
    assert len({tuple(image[1, 1]) for image in said}) == 3
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["0", "1", "2", "ignored"]
    figure.draw_without_rendering()  # a warning about the layout would be an error


def test_pixel_labels_of_many_stages_are_the_first_and_the_last():
    bare = StageResults("other", "without pictures", {"mean_iou": 0.5}, 8)
    stages = (*segmented(6, classes=6), bare)
    figure = pixel_labels.draw(RunResults(Path("run"), stages))
    titles = [axes.get_title(loc="left") for axes in figure.axes[:6]]
    assert titles == ["image", "labels", "stage 0", "stage 3", "stage 4", "stage 5"]
    assert not pixel_labels.FIGURE.applies(RunResults(Path("run"), (bare,)))


def test_neither_jax_nor_pyplot_is_imported():
    code = (
        "import sys, dst_jax.report; "
        "print([m for m in ('jax', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_file_of_figures_is_registered_once():
    listed = [figure.draw.__module__ for figure in (*OF_A_RUN, *OF_SEVERAL_RUNS)]
    helpers = {"figure", "layer_rows", "style"}
    files = {module.name for module in pkgutil.iter_modules(figures.__path__)}
    own = sorted(name.rpartition(".")[2] for name in listed)
    assert own == sorted(files - helpers)


def test_a_figure_is_reported_where_it_applies(make_run, monkeypatch):
    def draw(run):
        return style.subplots(1.0, 1.0)[0]

    shown = ReportFigure("extra", "An extra {measure}", "Its caption.", draw)
    hidden = ReportFigure("hidden", "Hidden", "", draw, lambda run: False)
    monkeypatch.setattr(report, "OF_A_RUN", (shown, hidden))
    page = report.write(make_run())
    assert "An extra accuracy" in page.read_text()
    assert "Its caption." in page.read_text()
    assert [file.name for file in page.parent.glob("figures/*")] == ["extra.png"]
