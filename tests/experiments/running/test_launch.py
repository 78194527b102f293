"""The command line, in processes of its own: what a user sees."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "experiments.mnist_lenet5"]
TINY = [
    *("--data.name", "digits", "--model.name", "mlp", "--run.log-every", "1"),
    *("--pretrain.epochs", "3", "--activation.epochs", "3"),
    *("--activation.strength", "1e-4"),
    *("--prune.induce-epochs", "2", "--prune.finetune-epochs", "3"),
    *("--run.stages", "pretrain", "sparsify_weights", "sparsify_activations"),
    *("--data.eval-batch-size", "120", "--run.no-control"),
]


def _environment(**extra):
    return {**os.environ, "PYTHONWARNINGS": "", **extra}


def run(*arguments, check=True, **extra):
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=_environment(**extra),
        capture_output=True,
        text=True,
        check=check,
    )


def start(*arguments):
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines_of_metrics(directory):
    path = directory / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_lines(process, directory, count):
    deadline = time.monotonic() + 120
    while lines_of_metrics(directory) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    finished = run(*TINY, "--run.dir", str(directory))
    return directory, finished.stdout


@pytest.mark.slow
def test_a_run_reports_and_is_reported_again(uninterrupted):
    directory, said = uninterrupted
    summary = json.loads((directory / "summary.json").read_text())
    assert [s["name"] for s in summary["stages"]] == [
        "pretrain",
        "sparsify_weights",
        "sparsify_activations",
    ]
    assert summary["config"]["prune"]["sparsity"] == 0.6
    record = json.loads((directory / "config.json").read_text())
    assert record["versions"]["jax"]
    assert record["seed"] == 0
    assert (directory / "report.html").exists()
    top1 = f"{100 * summary['stages'][-1]['top1']:.2f}"
    assert top1 in said
    before = {p: p.stat().st_mtime_ns for p in directory.glob("checkpoints/*/*")}
    again = run(*TINY, "--run.dir", str(directory)).stdout
    assert "is finished; this is its result" in again
    assert top1 in again
    assert before == {
        p: p.stat().st_mtime_ns for p in directory.glob("checkpoints/*/*")
    }


@pytest.mark.processes
@pytest.mark.slow
def test_killed_three_times_it_ends_bit_identical(uninterrupted, tmp_path):
    directory = tmp_path / "killed"
    total = lines_of_metrics(uninterrupted[0])
    at = sorted(random.Random(0).sample(range(2, total - 4), 3))
    for count in at:
        process = start(*TINY, "--run.dir", str(directory))
        wait_for_lines(process, directory, count)
        process.kill()
        process.communicate()
    run(*TINY, "--run.dir", str(directory))
    expected, found = (
        json.loads((d / "summary.json").read_text())
        for d in (uninterrupted[0], directory)
    )
    assert found["params_sha256"] == expected["params_sha256"]
    assert [s["top1"] for s in found["stages"]] == [
        s["top1"] for s in expected["stages"]
    ]
    keys = [
        [(m["kind"], m["phase"], m["step"]) for m in map(json.loads, text.splitlines())]
        for text in (
            (d / "metrics.jsonl").read_text() for d in (uninterrupted[0], directory)
        )
    ]
    assert len(set(keys[1])) == len(keys[1])
    assert set(keys[0]) == set(keys[1])


@pytest.mark.processes
@pytest.mark.slow
def test_sigterm_saves_and_exits_cleanly(uninterrupted, tmp_path):
    directory = tmp_path / "stopped"
    process = start(*TINY, "--run.dir", str(directory))
    wait_for_lines(process, directory, 4)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "the same command continues" in said
    resumed = run(*TINY, "--run.dir", str(directory)).stdout
    assert "resuming at step" in resumed
    expected, found = (
        json.loads((d / "summary.json").read_text())
        for d in (uninterrupted[0], directory)
    )
    assert found["params_sha256"] == expected["params_sha256"]


@pytest.mark.slow
def test_another_configuration_in_the_same_directory_is_refused(uninterrupted):
    directory, _ = uninterrupted
    options = [*TINY, "--run.dir", str(directory), "--activation.strength", "0.5"]
    refused = run(*options, check=False)
    assert refused.returncode == 2
    assert "--activation.strength is 0.5, was 0.0001" in refused.stderr


@pytest.mark.slow
def test_missing_data_is_said_at_once(tmp_path):
    refused = run(
        "--run.dir", str(tmp_path / "r"), TFDS_DATA_DIR=str(tmp_path), check=False
    )
    assert refused.returncode == 2
    assert "python -m dst_jax.data prepare mnist" in refused.stderr
    assert str(tmp_path) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_the_other_options_work_together(tmp_path):
    directory = tmp_path / "other"
    run(
        *TINY,
        *(
            "--model.dtype",
            "bfloat16",
            "--optim.rule",
            "adamw",
            "--pretrain.lr",
            "1e-3",
        ),
        *("--optim.decay", "step", "--optim.accumulate", "2", "--optim.clip", "1.0"),
        *("--optim.label-smoothing", "0.1", "--optim.warmup-epochs", "0.5"),
        *("--prune.sparsity", "None", "--prune.threshold", "0.02"),
        *("--prune.rules", "fc3/kernel=false", "--activation.layers", "relu1=2.0"),
        *(
            "--activation.penalty",
            "hoyer_square",
            "--run.control",
            "--run.save-every",
            "5",
        ),
        *("--data.holdout", "0", "--data.threads", "1"),
        *("--run.dir", str(directory)),
    )
    summary = json.loads((directory / "summary.json").read_text())
    assert [s["name"] for s in summary["stages"]][1] == "control"
    assert 0 < summary["stages"][2]["weight_sparsity"] < 1
    assert summary["stages"][0]["holdout"] is None
    assert any((directory / "tensorboard").iterdir())
    weights = json.loads((directory / "stages/sparsify_weights.json").read_text())
    assert "fc3/kernel" not in weights["layers"]["weights"]
