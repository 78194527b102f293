import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dst_jax.report.training_phases import Phase, phases, stage_ends


@given(st.lists(st.floats(0.125, 100.0), min_size=1, max_size=6))
def test_each_phase_starts_where_the_last_one_ends(lengths):
    lines = [
        {"kind": "train", "stage": f"s{i}", "epoch": share * length}
        for i, length in enumerate(lengths)
        for share in (0.5, 1.0)
    ]
    found = phases(lines)
    ends = list(itertools.accumulate(lengths))
    assert [p.start for p in found] == pytest.approx([0.0, *ends[:-1]])
    names = [f"s{i}" for i in range(len(lengths))]
    assert list(stage_ends(found, names).values()) == pytest.approx(ends)


def test_two_phases_of_a_stage_are_told_apart():
    lines = [
        {"stage": "sparsify_weights", "phase": phase, "epoch": 20.0}
        for phase in ("induce", "finetune")
    ]
    labels = [phase.label for phase in phases(lines)]
    assert labels == ["sparsify_weights: induce", "sparsify_weights: finetune"]
    assert stage_ends(phases(lines), ["sparsify_weights"]) == {"sparsify_weights": 40.0}


def test_a_curve_leaves_out_other_kinds_and_values_that_are_not_finite():
    lines = (
        {"kind": "train", "epoch": 1.0, "accuracy": 0.5},
        {"kind": "train", "epoch": 2.0, "accuracy": math.nan},
        {"kind": "train", "epoch": 3.0, "accuracy": None},
        {"kind": "train", "epoch": 4.0},
        {"kind": "eval", "epoch": 5.0, "accuracy": 0.6},
    )
    assert Phase("s", "s", 10.0, 5.0, lines).curve("train", "accuracy") == (
        [11.0],
        [0.5],
    )


def test_a_stage_without_lines_takes_no_time():
    found = phases([{"stage": "control", "epoch": 3.0}])
    ends = stage_ends(found, ["pretrain", "control", "sparsify_weights"])
    assert ends == {"pretrain": 0.0, "control": 3.0, "sparsify_weights": 3.0}


def test_short_intervals_are_averaged_by_steps():
    line = {"kind": "train"}
    logged = [(20, 1.0, 0.5), (13, 1.5, 0.7), (1, 1.6, 0.0), (20, 2.5, 0.8)]
    lines = [
        line | {"steps": n, "epoch": epoch, "accuracy": y} for n, epoch, y in logged
    ]
    phase = Phase("a", "a", 0.0, 2.6, tuple(lines))
    epochs, values = phase.curve("train", "accuracy")
    assert epochs == [1.0, 1.5, 2.5]
    assert values == pytest.approx([0.5, 0.7, 16 / 21])
    last = line | {"steps": 2, "epoch": 2.6, "accuracy": 0.25}
    phase = Phase("a", "a", 0.0, 2.6, (*lines, last))
    epochs, values = phase.curve("train", "accuracy")
    assert epochs == [1.0, 1.5, 2.6]
    assert values[-1] == pytest.approx(16.5 / 23)
