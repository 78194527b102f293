"""What a run writes down: rows, drift, the hash of the parameters, provenance."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dst_jax import cost
from dst_jax.runs.versions import installed_version
from dst_jax.train.evaluate import Evaluation
from dst_jax.trees import named_leaves
from dst_jax.typing import Params

__all__ = [
    "changes",
    "drift",
    "params_sha256",
    "provenance",
    "row",
    "throughput",
]

_SHA256 = 64
"""Characters of a digest."""

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
    """A stage's record: its line of the table, and the exact counts behind it.

    Args:
      name: name of the stage.
      test: evaluation on the test set, with counts.

    >>> from dst_jax.cost import OpCounts
    >>> count = OpCounts(dense=8, valid=8, by_activation=4, by_weight=8, effectual=4)
    >>> found = row("pretrain", Evaluation(
    ...     examples=2, sums={}, metrics={"top1": 0.5}, counts={"fc": count},
    ...     zeros={}, elements={}, weight_zeros={}, weight_elements={}))
    >>> found["top1"], found["flops_drop"]["dense"]
    (0.5, 0.5)
    """
    activation_products, weight_products = cost.apart(test.counts)
    return {
        "name": name,
        **test.metrics,
        "examples": test.examples,
        "weight_sparsity": test.weight_sparsity,
        "activation_sparsity": {
            "element": test.element_sparsity,
            "layer_mean": test.layer_mean_sparsity,
        },
        "union_tile": test.union_tile,
        "flops_drop": {"dense": test.drop("dense"), "valid": test.drop("valid")},
        "layers": {
            "activations": _pairs(test.zeros, test.elements),
            "tiles": _pairs(test.zero_tiles, test.tiles),
            "weights": _pairs(_by_operation(test), test.weight_elements),
            "counts": cost.as_dict(activation_products),
            "weight_counts": cost.as_dict(weight_products),
        },
    }


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

    Args:
      metrics: lines of metrics.jsonl.
      stage: name of the stage; all its phases count.
      batch_size: training images of a step.

    >>> line = {"kind": "train", "stage": "a", "steps": 4, "seconds": 2, "waiting": 0.5}
    >>> throughput([line], "a", batch_size=10)
    {'seconds': 2, 'images_per_second': 20.0, 'waiting': 0.5}
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

    Returns:
      `versions` of Python and of the libraries, `0+unknown` for one that is not
      installed; `git`, the revision of the checkout that this package is imported from
      and whether it was changed, or None outside of one; `machine`.

    >>> sorted(provenance())
    ['git', 'machine', 'versions']
    """
    devices = jax.devices()
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: installed_version(name) for name in _PACKAGES},
        },
        "git": _git(Path(__file__).resolve()),
        "machine": {
            "devices": f"{len(devices)} x {devices[0].device_kind}",
            "hosts": jax.process_count(),
            "platform": platform.platform(),
        },
    }


def changes(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is no longer as a run recorded it: a line for each library and data fact.

    Args:
      earlier: config.json; what it does not record cannot have changed.
      now: the same entries, `versions` and `data`.

    >>> changes({"versions": {"jax": "0.10.1"}}, {"versions": {"jax": "0.10.2"}})
    ['jax was 0.10.1 when this run began, now it is 0.10.2']
    """
    lines = []
    for part, prefix in (("versions", ""), ("data", "the data set's ")):
        then, found = earlier.get(part) or {}, now.get(part) or {}
        for name in then:
            if then[name] != found.get(name):
                what = f"{prefix}{name}"
                lines.append(
                    f"{what} was {_short(then[name])} when this run began, now it is"
                    f" {_short(found.get(name))}"
                )
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == _SHA256 else text


def _git(file: Path) -> dict[str, Any] | None:
    """The revision of the repository that tracks a file.

    A package that is installed below somebody's repository is no part of it.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(file.parent), *arguments],
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


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
