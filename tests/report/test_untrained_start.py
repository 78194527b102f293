"""A first stage without training: named what it is, and nothing compared with it."""

import json
from dataclasses import replace

import pytest

from dst_jax import report
from dst_jax.report.accelerator_records import AcceleratorRecord, OperationRecord
from dst_jax.report.figures import (
    OF_A_RUN,
    accuracy_against_sparsity,
    energy_by_part,
    speed_up,
    training_curves,
)
from dst_jax.report.load import load
from dst_jax.report.tables import accelerator_estimates, main_results, stage_costs

STAGES = ("pretrain", "sparsify_weights")


@pytest.fixture
def scratch(make_run):
    """A run whose first stage has no epochs, as it was recorded until now."""

    def make(title="dense baseline", **options):
        path = make_run(stages=STAGES, **options)
        file = path / "stages/pretrain.json"
        record = json.loads(file.read_text())
        record |= {"title": title, "epochs": 0, "top1": 0.1}
        file.write_text(json.dumps(record))
        return path

    return make


@pytest.mark.parametrize("title", [None, "dense baseline", "untrained start"])
def test_it_is_called_what_it_is(scratch, title):
    run = load(scratch(title))
    assert [stage.title for stage in run.stages] == ["untrained start", "pruned"]
    assert run.baseline is None


def test_weights_that_were_given_are_no_untrained_start(scratch):
    given = load(scratch(config={"init": {"path": "weights.safetensors"}}))
    assert given.stages[0].title == "given weights"
    assert main_results.difference(given.stages[1], given) == pytest.approx(0.78)


def test_a_baseline_that_was_trained_stays_one(make_run):
    assert load(make_run()).baseline.title == "dense baseline"


def test_no_difference_against_it_is_shown(scratch):
    path = scratch()
    run = load(path)
    table = main_results.stages(run)
    assert [row[:3] for row in table.rows] == [
        ("untrained start", "10.00", "-"),
        ("pruned", "88.00", "-"),
    ]
    assert "Δ" not in table.note
    assert stage_costs.drift(run).rows == ()
    text = report.write(path).read_text()
    assert "dense baseline" not in text
    assert "against the" not in text


def test_figures_leave_it_out_of_what_they_compare(scratch):
    run = load(scratch())
    (axes,) = accuracy_against_sparsity.draw([run]).axes
    assert {y for line in axes.lines for y in line.get_ydata()} == {88.0}
    top, _ = training_curves.draw(run).axes
    assert top.get_ylim()[0] >= 88 - 20
    tested = [x for x in top.lines if x.get_label() == "test, end of stage"]
    assert tested[0].get_ydata().tolist() == [88]


def test_accelerators_are_compared_with_the_first_trained_network(scratch):
    def estimated(run, *cycles):
        stages = tuple(
            replace(
                stage,
                accelerators={
                    "scnn": AcceleratorRecord(
                        total=OperationRecord(cycles=c, energy={"mac": c})
                    )
                },
            )
            for stage, c in zip(run.stages, cycles, strict=True)
        )
        return replace(run, stages=stages)

    run = estimated(load(scratch()), 400.0, 100.0)
    rows = accelerator_estimates.on_accelerators(run).rows
    assert [(row[1], row[3], row[-1]) for row in rows] == [
        ("untrained start", "-", "-"),
        ("pruned", "1.00", "0.00"),
    ]
    (axes,) = speed_up.draw(run).axes
    assert [bar.get_width() for bar in axes.patches] == [1.0]
    (axes,) = energy_by_part.draw(run).axes
    assert axes.patches[0].get_width() == 100
    alone = replace(run, stages=run.stages[:1])
    for figure in OF_A_RUN:
        if figure.draw in (speed_up.draw, energy_by_part.draw):
            assert not figure.applies(alone)


def test_a_run_of_given_weights_is_compared_with_those(make_run):
    path = make_run(stages=("pretrain", "sparsify_weights"))
    for file in ("config.json", "stages/pretrain.json"):
        record = (path / file).read_text().replace('"pretrain"', '"initial"')
        (path / file).write_text(record)
    (path / "stages/pretrain.json").rename(path / "stages/initial.json")
    text = report.write(path).read_text()
    assert "(-2.00 points against the given weights)" in text
    assert "Δ: the difference from the given weights." in text
    assert "Drift from the given weights" in text
