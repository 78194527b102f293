"""Runs of other tasks are reported by the names that they record."""

import json

import pytest

from dst_jax import report
from dst_jax.report.figures import accuracy_against_sparsity, training_curves
from dst_jax.report.load import load
from dst_jax.report.tables import comparison, main_results, stage_costs
from dst_jax.report.task_records import shared_task, task_record

SEGMENTATION = {
    "name": "segmentation",
    "titles": {
        "pixel_accuracy": "pixel accuracy",
        "mean_iou": "mean IoU",
        "loss": "loss",
    },
    "best": ["mean_iou", "max"],
}
REGRESSION = {
    "name": "regression",
    "titles": {"loss": "squared error"},
    "best": ["loss", "min"],
}
STAGES = ("pretrain", "sparsify_activations")


@pytest.fixture
def make_task_run(make_run):
    """A run of two stages whose records hold other metrics."""

    def make(task, first, last, name="run", **options):
        path = make_run(name, stages=STAGES, **options)
        _rewrite(path / "config.json", task=task)
        for stage, metrics in zip(STAGES, (first, last), strict=True):
            _rewrite(path / f"stages/{stage}.json", **metrics, holdout=metrics)
        return path

    return make


def _rewrite(file, **changes):
    record = json.loads(file.read_text()) | changes
    record.pop("top1", None)
    record.pop("top5", None)
    file.write_text(json.dumps(record))


def _segmentation(make_task_run, **options):
    first = {"pixel_accuracy": 0.9, "mean_iou": 0.7}
    last = {"pixel_accuracy": 0.88, "mean_iou": 0.65}
    return make_task_run(SEGMENTATION, first, last, **options)


def test_the_best_metric_is_the_first_and_has_the_difference(make_task_run):
    table = main_results.stages(load(_segmentation(make_task_run)))
    assert table.headings[:4] == (
        "stage",
        "mean IoU %",
        "Δ mean IoU, points",
        "pixel accuracy %",
    )
    assert table.rows[1][:4] == ("activation-sparse", "65.00", "-5.00", "88.00")


def test_the_hold_out_has_the_same_metrics(make_task_run):
    table = stage_costs.costs(load(_segmentation(make_task_run)))
    assert table.headings[6:8] == ("hold-out mean IoU %", "hold-out pixel accuracy %")
    assert table.rows[0][6:8] == ("70.00", "90.00")


def test_the_page_says_nothing_of_accuracy(make_task_run):
    text = report.write(_segmentation(make_task_run)).read_text()
    assert "at 65.00 % mean IoU (-5.00 points against the dense baseline)" in text
    assert "mean IoU and sparsity over training" in text.replace("Mean", "mean")
    assert "top-1" not in text


def test_figures_draw_the_best_metric(make_task_run):
    run = load(_segmentation(make_task_run))
    top, _ = training_curves.draw(run).axes
    tested = next(line for line in top.lines if line.get_marker() == "D")
    assert tested.get_ydata() == pytest.approx([70, 65])
    assert top.get_ylabel() == "mean IoU, %"
    (axes,) = accuracy_against_sparsity.draw([run]).axes
    assert axes.get_ylabel() == "test mean IoU, %"


def test_a_metric_that_is_no_share_is_not_in_percent(make_task_run):
    path = make_task_run(REGRESSION, {"loss": 0.25}, {"loss": 1.5})
    run = load(path)
    table = main_results.stages(run)
    assert table.headings[1:3] == ("squared error", "Δ squared error")
    assert table.rows[1][1:3] == ("1.5000", "1.2500")
    assert "at 1.5000 squared error (+1.2500 against" in report.write(path).read_text()
    top, _ = training_curves.draw(run).axes
    tested = next(line for line in top.lines if line.get_marker() == "D")
    assert tested.get_ydata() == pytest.approx([0.25, 1.5])


def test_seeds_are_averaged_in_the_metrics_own_unit(make_task_run):
    runs = [
        load(make_task_run(REGRESSION, {"loss": x}, {"loss": x}, f"s{i}", seed=i))
        for i, x in enumerate((1.0, 3.0))
    ]
    assert comparison.over_seeds(runs).rows[0][3] == "2.0000 ±1.4142"


def test_runs_of_different_tasks_are_not_compared(make_run, make_task_run, tmp_path):
    runs = [make_run("a"), _segmentation(make_task_run, name="b")]
    with pytest.raises(ValueError, match="classification, segmentation"):
        report.compare(runs, tmp_path)


def test_a_task_says_which_metrics_are_shares():
    titles = {"top1": "top-1", "rank": "mean rank"}
    task = {"name": "ranking", "titles": titles, "best": ["top1", "max"]}
    task["shares"] = ["top1"]
    found = task_record({"task": task})
    assert [metric.is_share for metric in found.metrics] == [True, False]
    assert found.measure == "top-1"


def test_a_metric_without_a_title_has_its_name():
    task = {"name": "counting", "titles": {}, "best": ["error", "min"], "shares": []}
    (metric,) = task_record({"task": task}).metrics
    assert (metric.title, metric.is_share) == ("error", False)


@pytest.mark.parametrize(("classes", "left_out"), [(5, True), (6, False)])
def test_top5_of_five_classes_is_nowhere(make_run, tmp_path, classes, left_out):
    path = make_run("a", stages=STAGES)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(
        json.dumps(config | {"data": {"name": "mine", "num_classes": classes}})
    )
    run = load(path)
    words = [*main_results.stages(run).headings, *stage_costs.costs(run).headings]
    assert ("top-5 %" not in words) == left_out
    assert ("hold-out top-5 %" not in words) == left_out
    assert ("top-5" not in report.write(path).read_text()) == left_out
    report.write_csv([path], tmp_path / "csv")
    tables = "".join(x.read_text() for x in (tmp_path / "csv").glob("*.csv"))
    assert ("top5" not in tables) == left_out


def test_runs_of_few_and_of_many_classes_share_what_both_have():
    few, many = (task_record({"data": {"num_classes": n}}) for n in (3, 10))
    assert [m.name for m in shared_task([many, few]).metrics] == ["top1"]
    assert shared_task([many, many]) == many
    segmentation = {"task": SEGMENTATION, "data": {"num_classes": 3}}
    assert len(task_record(segmentation).metrics) == 2
