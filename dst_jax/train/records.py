"""What a run writes down: rows, drift, the hash of the parameters, provenance."""

import dataclasses
import hashlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dst_jax import cost
from dst_jax.models.linen import Linen
from dst_jax.train import tasks
from dst_jax.train.evaluate import Evaluation
from dst_jax.train.stage import Stage
from dst_jax.train.tasks import Task
from dst_jax.trees import named_leaves
from dst_jax.typing import Model, Network, Params

__all__ = [
    "drift",
    "model",
    "network",
    "params_sha256",
    "plan",
    "provenance",
    "row",
    "throughput",
]

_PACKAGES = (
    "dst_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
)


def row(name: str, test: Evaluation) -> dict[str, Any]:
    """A stage's record: its line of the table, and the exact counts behind it."""
    return {
        "name": name,
        **test.metrics,
        "examples": test.examples,
        "weight_sparsity": test.weight_sparsity,
        "activation_sparsity": {
            "element": test.element_sparsity,
            "layer_mean": test.layer_mean_sparsity,
        },
        "flops_drop": {"dense": test.drop("dense"), "valid": test.drop("valid")},
        "layers": {
            "activations": _pairs(test.zeros, test.elements),
            "weights": _pairs(_by_operation(test), test.weight_elements),
            "counts": cost.as_dict(test.counts),
        },
    }


def plan(stages: Sequence[Stage], task: Task, start: Network) -> dict[str, Any]:
    """What a run is about to do, for config.json: stages, task, model.

    Args:
      stages: all phases, in order.
      task: the run's task.
      start: the network that the first stage starts from; shapes will do.

    Returns:
      `stages`, the rows' names in order; `titles`, what reports call them; `task` (see
      `tasks.record`); `model` (see `model`) with the `shapes` of its variables.
    """
    last = {stage.name: stage for stage in stages}
    return {
        "stages": list(last),
        "titles": {name: stage.title for name, stage in last.items()},
        "task": tasks.record(task),
        "model": model(start.model) | {"shapes": _shapes(start)},
    }


def model(of: Model) -> dict[str, Any]:
    """A model's name, as `module:attribute`, and its options.

    Args:
      of: a function, or a Linen module as a model.

    >>> from dst_jax import models
    >>> found = model(Linen(models.create("mlp", num_classes=3, hidden=(8,))))
    >>> found["name"], found["options"]["hidden"]
    ('dst_jax.models.networks.mlp:MLP', [8])
    """
    options = {}
    made: Any = of
    if isinstance(of, Linen):
        fields = [f.name for f in dataclasses.fields(of.module) if f.init]
        named = [name for name in fields if name not in ("parent", "name")]
        options = {name: _plain(getattr(of.module, name)) for name in named}
        made = type(of.module)
    elif not hasattr(of, "__qualname__"):
        made = type(of)
    return {"name": f"{made.__module__}:{made.__qualname__}", "options": options}


def network(handed_on: Network) -> dict[str, Any]:
    """What a stage's record says of the network that it hands on.

    Returns:
      `shapes` of its variables by path, and `plans`: what has been removed from the
      network that config.json names, as the model's attribute `plans` says.

    >>> network(Network(print, {"params": {"w": np.zeros((2, 3))}}))
    {'shapes': {'params/w': [2, 3]}, 'plans': []}
    """
    plans = getattr(handed_on.model, "plans", ())
    return {"shapes": _shapes(handed_on), "plans": list(plans)}


def drift(baseline: Params, params: Params) -> dict[str, float] | None:
    """How far all parameters together have moved from the baseline.

    Table 2 of Yu & Tian 2024; which parameters it takes is not said there: assumed
    here, all of them as one vector, without batch statistics.

    Returns:
      `euclidean`, the l2 norm of the difference, and `cosine`, the similarity; None if
      the shapes differ, because something was removed.

    >>> drift({"w": np.array([3.0, 0.0])}, {"w": np.array([3.0, 4.0])})
    {'euclidean': 4.0, 'cosine': 0.6}
    """
    shapes = [
        {k: np.shape(x) for k, x in named_leaves(t).items()} for t in (baseline, params)
    ]
    if shapes[0] != shapes[1]:
        return None
    a, b = _vector(baseline), _vector(params)
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return {"euclidean": float(np.linalg.norm(a - b)), "cosine": cosine}


def params_sha256(params: Params) -> str:
    """SHA-256 of the parameters' bytes in path order.

    >>> params_sha256({"w": np.zeros(1, np.float32)})[:8]
    'df3f6198'
    """
    digest = hashlib.sha256()
    for leaf in named_leaves(params).values():
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def throughput(
    metrics: list[dict[str, Any]], stage: str, *, batch_size: int
) -> dict[str, float | None]:
    """Seconds, images/s and the share of time spent waiting for data in a stage.

    >>> line = {"kind": "train", "stage": "dense", "steps": 10, "seconds": 2.0}
    >>> metrics = [line | {"waiting": 0.0}, line | {"waiting": 0.5}]
    >>> throughput(metrics, "dense", batch_size=32)  # 20 steps of 32 in 4 seconds
    {'seconds': 4.0, 'images_per_second': 160.0, 'waiting': 0.25}
    """
    own = [m for m in metrics if m["kind"] == "train" and m["stage"] == stage]
    lines = [m for m in own if m["steps"]]  # an interval may hold compilation alone
    seconds = sum(m["seconds"] for m in lines)
    if seconds == 0:
        return {"seconds": 0.0, "images_per_second": None, "waiting": None}
    images = batch_size * sum(m["steps"] for m in lines)
    waiting = sum(m["waiting"] * m["seconds"] for m in lines) / seconds
    return {
        "seconds": seconds,
        "images_per_second": images / seconds,
        "waiting": waiting,
    }


def provenance() -> dict[str, Any]:
    """Versions, git revision and machine.

    >>> found = provenance()
    >>> found["versions"]["jax"] == jax.__version__, found["machine"]["hosts"]
    (True, 1)
    """
    devices = jax.devices()
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "git": _git(Path(__file__).resolve().parent),
        "machine": {
            "devices": f"{len(devices)} x {devices[0].device_kind}",
            "hosts": jax.process_count(),
            "platform": platform.platform(),
        },
    }


def _git(directory: Path) -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def _shapes(of: Network) -> dict[str, list[int]]:
    leaves = named_leaves(dict(of.variables))
    return {path: list(leaf.shape) for path, leaf in leaves.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it; text for what it does not have."""
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", None) or str(value)


def _by_operation(test: Evaluation) -> dict[str, int]:
    """Weight zeros in the order in which the network uses the weights."""
    order = {name: i for i, name in enumerate(test.counts)}

    def place(name: str) -> int:
        return order.get(name.rpartition("/")[0], len(order))

    return {k: test.weight_zeros[k] for k in sorted(test.weight_zeros, key=place)}


def _pairs(
    zeros: Mapping[str, int], elements: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    return {k: {"zeros": zeros[k], "elements": elements[k]} for k in zeros}


def _vector(params: Params) -> np.ndarray:
    leaves = named_leaves(params).values()
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in leaves])
