import json

import pytest

from dst_jax import activations
from dst_jax.typing import Network
from experiments import mnist_lenet5, thresholds
from experiments.running import fat_relu
from experiments.running.launch import main as train


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "lenet5"
    argv = ["--preset", "demo", "--run.dir", str(path), "--run.stages", "pretrain"]
    argv += ["--pretrain.epochs", "3", "--run.no-control"]
    assert train("mnist_lenet5", mnist_lenet5.PRESETS, doc="", argv=argv) == 0
    return path


def _record(run_dir, *options):
    argv = [str(run_dir), "--bisections", "3", *options]
    assert thresholds.main(argv) == 0
    return json.loads((run_dir / "thresholds" / "pretrain.json").read_text())


@pytest.mark.slow
def test_more_zeros_within_the_budget(run_dir, capsys):
    record = _record(run_dir, "--budget", "2")
    holdout = record["holdout"]
    assert holdout["with"]["top1"] >= holdout["without"]["top1"] - 0.02
    before, after = record["test"]["without"], record["test"]["with"]
    stage = json.loads((run_dir / "stages" / "pretrain.json").read_text())
    assert before["top1"] == stage["top1"]
    assert before["layers"] == stage["layers"]
    sparsity = [row["activation_sparsity"]["element"] for row in (before, after)]
    assert sparsity[0] < sparsity[1]
    assert before["flops_drop"]["dense"] < after["flops_drop"]["dense"]
    assert set(record["thresholds"]) == {"relu1", "relu2", "relu3", "relu4"}
    assert "relu1" in capsys.readouterr().out


def test_thresholds_of_the_network_are_the_least():
    network = Network(print, {"params": {}})
    own = fat_relu.put_on(network, {"relu1": 0.5})
    found = fat_relu.put_on(own, {"relu1": 0.25, "relu2": 0.75}).variables
    assert activations.thresholds_of(found) == {"relu1": 0.5, "relu2": 0.75}
    with pytest.raises(ValueError, match=r"--kind must be that of .* got soft and \["):
        fat_relu.put_on(own, {"relu1": 1.0}, kind="soft")


@pytest.mark.slow
def test_the_other_half_says_what_was_lost(run_dir):
    record = _record(run_dir, "--images", "half", "--no-test", "--budget", "2")
    assert record["images"] == "half"
    assert {row["examples"] for row in record["holdout"].values()} == {60}
    whole = _record(run_dir, "--no-test", "--budget", "2")
    assert record["holdout"]["without"]["loss"] != whole["holdout"]["without"]["loss"]


@pytest.mark.slow
def test_a_larger_budget_goes_further(run_dir):
    ends = [_record(run_dir, "--budget", budget)["test"]["with"] for budget in "09"]
    assert (
        ends[0]["activation_sparsity"]["element"]
        < ends[1]["activation_sparsity"]["element"]
    )


@pytest.mark.slow
def test_the_test_set_waits_until_it_is_asked_for(run_dir, capsys):
    record = _record(run_dir, "--no-test")
    assert set(record["holdout"]) == {"without", "with"}
    assert "test" not in record
    assert "test" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--budget", "-1"), 2, "--budget must be >= 0, got -1"),
        (("--bisections", "0"), 2, "--bisections must be at least 1, got 0"),
        (("--percentile", "100"), 2, "--percentile must be in (0, 100), got 100"),
        (("--stage", "prune"), 2, "--stage must be one of ('pretrain',), got 'prune'"),
    ],
)
def test_bad_options_are_refused(run_dir, capsys, options, status, message):
    assert thresholds.main([str(run_dir), *options]) == status
    assert message in capsys.readouterr().err
