"""A small run with numbers that can be checked by hand."""

import math

import pytest

from dst_jax import report
from dst_jax.runs import Run

STAGES = ("pretrain", "control", "sparsify_weights", "sparsify_activations")

TOP1 = {"pretrain": 0.9, "control": 0.91, "sparsify_weights": 0.88}
TOP1["sparsify_activations"] = 0.905

# Zeros of relu1 (400 elements), relu2 (100), conv1 (50 weights), fc (150).
ZEROS = {
    "pretrain": (100, 50, 0, 0),
    "control": (110, 51, 0, 0),
    "sparsify_weights": (90, 49, 10, 110),
    "sparsify_activations": (300, 80, 10, 110),
}
# dense, valid, by_activation, by_weight, effectual of conv1 and fc; 10 images.
PRODUCTS = {
    "pretrain": ((6000, 5000, 5000, 5000, 5000), (4000, 4000, 2000, 4000, 2000)),
    "control": ((6000, 5000, 5000, 5000, 5000), (4000, 4000, 1800, 4000, 1800)),
    "sparsify_weights": (
        (6000, 5000, 5000, 4000, 4000),
        (4000, 4000, 2000, 1000, 500),
    ),
    "sparsify_activations": (
        (6000, 5000, 5000, 4000, 4000),
        (4000, 4000, 400, 1000, 100),
    ),
}
FIELDS = ("dense", "valid", "by_activation", "by_weight", "effectual")


def stage_record(name, *, seed=0, holdout=True):
    """A stage as training writes it; a seed adds `seed` points to top-1."""
    relu1, relu2, conv1, fc = ZEROS[name]
    counts = [dict(zip(FIELDS, row, strict=True)) for row in PRODUCTS[name]]
    dense, valid, effectual = (
        sum(row[key] for row in counts) for key in ("dense", "valid", "effectual")
    )
    top1 = TOP1[name] + 0.01 * seed
    return {
        "name": name,
        "top1": top1,
        "top5": 0.99,
        "loss": 0.3,
        "examples": 10,
        "weight_sparsity": (conv1 + fc) / 200,
        "activation_sparsity": {
            "element": (relu1 + relu2) / 500,
            "layer_mean": (relu1 / 400 + relu2 / 100) / 2,
        },
        "flops_drop": {"dense": 1 - effectual / dense, "valid": 1 - effectual / valid},
        "holdout": {"top1": top1 - 0.02, "top5": 0.98, "loss": 0.4}
        if holdout
        else None,
        "drift": None if name == "pretrain" else {"euclidean": 1.25, "cosine": 0.96},
        "seconds": 75.0,
        "epochs": 4 if name == "sparsify_weights" else 2,
        "images_per_second": None if name == "pretrain" else 512.0,
        "waiting": None if name == "pretrain" else 0.013,
        "layers": {
            "activations": {
                "relu1": {"zeros": relu1, "elements": 400},
                "relu2": {"zeros": relu2, "elements": 100},
            },
            "weights": {
                "conv1/kernel": {"zeros": conv1, "elements": 50},
                "fc/kernel": {"zeros": fc, "elements": 150},
            },
            "counts": dict(zip(("conv1", "fc"), counts, strict=True)),
        },
    }


def metric_lines(stage, *, holdout=True):
    """Two epochs of every phase of a stage."""
    phases = ("induce", "finetune") if stage == "sparsify_weights" else (stage,)
    for phase in phases:
        for step in (1, 2, 3, 4):
            line = {"stage": stage, "phase": phase, "step": step, "epoch": step / 2}
            loss = math.nan if step == 3 else 1.0
            yield line | {"kind": "train", "loss": loss, "accuracy": 0.8 + 0.01 * step}
            if holdout and step % 2 == 0:
                yield line | {
                    "kind": "eval",
                    "top1": 0.85,
                    "top5": 0.97,
                    "loss": 0.5,
                    "activation_sparsity": 0.4,
                    "weight_sparsity": 0.0,
                }


def write_run(
    path,
    *,
    stages=STAGES,
    finished=None,
    seed=0,
    holdout=True,
    summary=True,
    config=None,
):
    """Writes a run directory and returns its path."""
    run = Run(path)
    run.write_config(
        {
            "config": {"model": {"name": "lenet5"}, "lr": 0.1, "seed": seed}
            | {"output": f"runs/{path.name}"}
            | (config or {}),
            "stages": list(stages),
            "command": "python -m experiments.mnist --lr 0.1",
            "seed": seed,
            "versions": {"jax": "0.10.2", "flax": "0.12.8"},
            "git": {"revision": "0123abcd", "dirty": True},
            "machine": {"devices": "1 x cpu", "hosts": 1},
            "started": "2025-01-02T03:04:05+00:00",
        }
    )
    records = []
    for stage in stages[:finished]:
        record = stage_record(stage, seed=seed, holdout=holdout)
        run.write_stage(stage, record)
        records.append({k: v for k, v in record.items() if k != "layers"})
        for line in metric_lines(stage, holdout=holdout):
            run.log(line)
    if summary and finished is None:
        run.write_summary({"stages": records, "params_sha256": "ab" * 32})
    return run.path


@pytest.fixture
def make_run(tmp_path):
    """Writes a run directory under tmp_path and returns its path."""

    def make(name="run", **options):
        return write_run(tmp_path / name, **options)

    return make


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a run and the one of a comparison, written once."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [write_run(folder / name, seed=i) for i, name in enumerate(("a", "b"))]
    return report.write(runs[0]), report.compare(runs, folder)
