import numpy as np
import pytest

from dst_jax.report.load import load
from dst_jax.report.tables import comparison


def test_names_are_as_short_as_they_can_be(make_run):
    runs = [load(make_run(name)) for name in ("a/run", "b/run")]
    assert comparison.run_names(runs) == ["a/run", "b/run"]
    assert comparison.run_names(runs[:1]) == ["run"]
    assert comparison.run_names([load(make_run(n)) for n in "ab"]) == ["a", "b"]


def test_the_same_run_twice_is_an_error(make_run):
    run = load(make_run())
    with pytest.raises(ValueError, match="run is given twice"):
        comparison.run_names([run, run])


def test_side_by_side_has_a_row_per_run_and_stage(make_run):
    runs = [load(make_run("a")), load(make_run("b", finished=2))]
    rows = comparison.side_by_side(runs).rows
    assert [row[:3] for row in rows] == [
        ("a", "dense baseline", "90.00"),
        ("", "dense control", "91.00"),
        ("", "pruned", "88.00"),
        ("", "dual sparse", "90.50"),
        ("b", "dense baseline", "90.00"),
        ("", "dense control", "91.00"),
    ]


def test_runs_that_differ_in_the_seed_only_are_averaged(make_run):
    runs = [load(make_run(f"s{seed}", seed=seed)) for seed in range(3)]
    table = comparison.over_seeds(runs)
    assert [row[:3] for row in table.rows] == [
        ("s0, s1, s2", "dense baseline", "3"),
        ("", "dense control", "3"),
        ("", "pruned", "3"),
        ("", "dual sparse", "3"),
    ]
    top1 = 100 * np.array([0.905, 0.915, 0.925])
    assert table.rows[-1][3] == f"{top1.mean():.2f} ±{top1.std(ddof=1):.2f}"
    assert table.rows[-1][4] == "+0.50 ±0.00"
    assert table.rows[0][4] == "-"


def test_other_settings_are_not_averaged(make_run):
    runs = [load(make_run("a")), load(make_run("b", seed=1, config={"lr": 0.2}))]
    assert comparison.over_seeds(runs).rows == ()


def test_other_stages_are_not_averaged(make_run):
    runs = [load(make_run("a")), load(make_run("b", seed=1, stages=("pretrain",)))]
    assert comparison.over_seeds(runs).rows == ()


def test_a_stage_that_one_seed_lacks_is_counted_and_has_no_spread(make_run):
    runs = [load(make_run("a")), load(make_run("b", seed=1, finished=3))]
    last = comparison.over_seeds(runs).rows[-1]
    assert last[1:4] == ("dual sparse", "1", "90.50")


def test_only_settings_that_differ_are_listed(make_run):
    runs = [load(make_run("a")), load(make_run("b", seed=1, config={"lr": 0.2}))]
    table = comparison.differences(runs)
    assert table.headings == ("setting", "a", "b")
    assert set(table.rows) == {("seed", "0", "1"), ("lr", "0.1", "0.2")}


def test_equal_runs_have_no_differences(make_run):
    runs = [load(make_run("a")), load(make_run("b"))]
    assert comparison.differences(runs).rows == ()
