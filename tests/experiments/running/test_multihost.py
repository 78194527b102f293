"""Two processes of two devices each do what one process of four devices does.

Also if they are stopped in between, by a signal to one of them.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "experiments.mnist_lenet5"]
OPTIONS = [
    *("--preset", "demo", "--model.name", "mlp", "--data.image-size", "16"),
    *("--run.log-every", "1", "--pretrain.epochs", "2", "--prune.induce-epochs", "0"),
    *("--prune.finetune-epochs", "1", "--activation.epochs", "1", "--run.no-control"),
    *("--run.stages", "pretrain", "sparsify_weights", "sparsify_activations"),
    *("--run.accelerators", "dense"),
]


def _start(directory, *options, devices, **environment):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [*COMMAND, *OPTIONS, *options, "--run.dir", str(directory)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(*processes):
    said = [process.communicate(timeout=300)[0] for process in processes]
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text
    return said


def _start_two(directory):
    slurm = {  # what jax.distributed.initialize() finds on a cluster
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
    }
    return [
        _start(
            directory,
            "--run.multihost",
            devices=2,
            **slurm,
            SLURM_PROCID=str(i),
            SLURM_LOCALID=str(i),
        )
        for i in range(2)
    ]


def _wait_for_lines(directory, count):
    path, deadline = directory / "metrics.jsonl", time.monotonic() + 300
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _losses(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [m["loss"] for m in map(json.loads, lines) if m["kind"] == "train"]


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    _finish(_start(tmp_path / "one", devices=4))
    both = _start_two(tmp_path / "two")
    _wait_for_lines(tmp_path / "two", 1)  # early: the rest takes a few seconds
    both[1].send_signal(signal.SIGTERM)
    stopped = [re.search(r"interrupted at step \d+", text) for text in _finish(*both)]
    assert stopped[0] is not None
    assert stopped[1] is not None
    assert stopped[0][0] == stopped[1][0]
    said = _finish(*_start_two(tmp_path / "two"))
    assert "dual sparse" in said[0]
    assert "dual sparse" not in said[1]
    one, two = (
        json.loads((tmp_path / name / "summary.json").read_text())
        for name in ("one", "two")
    )
    for name in ("pretrain", "sparsify_weights", "sparsify_activations"):
        assert (tmp_path / "two" / "accelerators" / f"{name}.json").exists()
    for a, b in zip(one["stages"], two["stages"], strict=True):
        assert a["examples"] == b["examples"] == 599
        assert a["weight_sparsity"] == b["weight_sparsity"]
        assert abs(a["top1"] - b["top1"]) <= 1 / 599
    # The sums of a batch are taken in another order, in float32: the first steps of
    # every phase agree to rounding; later ones as far as the ReLUs' kinks let them.
    losses = [_losses(tmp_path / name) for name in ("one", "two")]
    np.testing.assert_allclose(losses[1][:5], losses[0][:5], rtol=1e-5)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2, atol=1e-2)
