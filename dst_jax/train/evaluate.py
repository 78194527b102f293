"""Evaluation over a whole set: every example once, sums exact."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from dst_jax import cost, data, pruning
from dst_jax.kernels import Kernel
from dst_jax.train.finite import check_metrics, check_tree
from dst_jax.train.sharding import put_batch
from dst_jax.train.step import MAPS, EvalStep
from dst_jax.train.tasks import Task, classification
from dst_jax.trees import named_leaves
from dst_jax.typing import Network, Rules

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Sums over a set as Python integers, and what follows from them.

    The task's metrics are attributes, too: `found.top1` is `found.metrics["top1"]`.

    >>> found = Evaluation(
    ...     examples=2, sums={"top1": 1}, metrics={"top1": 0.5}, counts={},
    ...     zeros={"relu1": 6}, elements={"relu1": 8},
    ...     weight_zeros={"fc/kernel": 3}, weight_elements={"fc/kernel": 4})
    >>> found.top1, found.element_sparsity, found.weight_sparsity
    (0.5, 0.75, 0.75)
    """

    examples: int
    sums: Mapping[str, Any]
    """The task's, added up over the set."""
    metrics: Mapping[str, float]
    """The task's summary of them."""
    zeros: dict[str, int]
    """Zeros of every activation map over the set."""
    elements: dict[str, int]
    weight_zeros: dict[str, int]
    """Zeros of every prunable leaf."""
    weight_elements: dict[str, int]
    counts: dict[str, cost.OpCounts]
    """Multiplications by operation; empty if not counted."""
    zero_tiles: dict[str, int] = field(default_factory=dict)
    """Tiles of every map that are zero at all positions; empty if not counted."""
    tiles: dict[str, int] = field(default_factory=dict)
    union_tile: int = 0
    """Side of these tiles; 0 if they were not counted."""

    def __getattr__(self, name: str) -> float:
        metrics = vars(self).get("metrics", {})
        if name not in metrics:
            raise AttributeError(
                f"an evaluation has no {name!r}; its metrics are {tuple(metrics)}"
            )
        return metrics[name]

    @property
    def element_sparsity(self) -> float:
        """Zeros of all maps over elements of all maps; NaN without maps."""
        return _share(sum(self.zeros.values()), sum(self.elements.values()))

    @property
    def layer_mean_sparsity(self) -> float:
        """The plain mean of the maps' zero fractions; NaN without maps."""
        shares = [_share(self.zeros[k], self.elements[k]) for k in self.zeros]
        return _share(sum(shares), len(shares))

    @property
    def weight_sparsity(self) -> float:
        """Zeros of all prunable weights over all of them; NaN if there are none."""
        whole = sum(self.weight_elements.values())
        return _share(sum(self.weight_zeros.values()), whole)

    def drop(self, reference: Literal["dense", "valid"]) -> float:
        """`1 - effectual / reference`, as `cost.drop`."""
        return cost.drop(self.counts, reference=reference)


def evaluate(
    eval_step: EvalStep,
    network: Network,
    batches: Iterable[data.EvalBatch],
    *,
    mesh: Mesh,
    task: Task | None = None,
    prunable: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Runs `eval_step` over all batches and adds up.

    Args:
      eval_step: from `make_eval_step`.
      network: the network.
      batches: batches from `data.eval_batches`; the last may be smaller.
      mesh: mesh from `make_mesh`.
      task: the task of `eval_step`; classification by default.
      prunable: `((regex, bool), ...)`: which weights count for weight sparsity.
      kernels: kernels of the network; by name if None.
      check: called before every batch; may raise to stop.

    Raises:
      ValueError: there are no batches, or the task's summary lacks its best metric.
      NonFiniteNetwork: the network, its loss or its best metric is not finite.

    >>> from dst_jax.train.sharding import make_mesh
    >>> network = Network(print, {"params": {}})
    >>> evaluate(lambda *_: {}, network, [], mesh=make_mesh())
    Traceback (most recent call last):
    ValueError: batches is empty: there is nothing to evaluate on
    """
    task = classification() if task is None else task
    check_tree(dict(network.variables), mesh)
    parts: list[dict[str, Any]] = []
    for batch in batches:
        check()
        # Corrupt records may have left a batch too small for the devices to share.
        shared = batch.sharded and len(batch.label) % mesh.local_mesh.size == 0
        arrays = {"image": batch.image, "label": batch.label}
        on_device = put_batch(arrays, mesh, sharded=shared)
        found = eval_step(network.params, network.model_state, on_device)
        parts.append(jax.device_get(found))
    if not parts:
        raise ValueError("batches is empty: there is nothing to evaluate on")
    others = (*MAPS, "counts")
    sums = _added([{k: v for k, v in p.items() if k not in others} for p in parts])
    weights = named_leaves(
        pruning.masks.prunable(network.params, prunable, kernels=kernels)
    )
    return Evaluation(
        examples=sums["examples"],
        sums=sums,
        metrics=_metrics(task, sums),
        zeros=_sum_by_name([_total(p["zeros"]) for p in parts]),
        elements=_sum_by_name([_each(p, "elements") for p in parts]),
        weight_zeros={k: int(np.sum(np.asarray(w) == 0)) for k, w in weights.items()},
        weight_elements={k: w.size for k, w in weights.items()},
        counts=cost.accumulate(p["counts"] for p in parts)
        if "counts" in parts[0]
        else {},
        **_tiles(parts),
    )


def _metrics(task: Task, sums: Mapping[str, Any]) -> dict[str, float]:
    metrics = {name: float(value) for name, value in task.summary(sums).items()}
    if task.best[0] not in metrics:
        raise ValueError(
            f"task.best must be a metric of its summary, {tuple(metrics)}, got"
            f" {task.best[0]!r}"
        )
    check_metrics(metrics, ("loss", task.best[0]))
    return metrics


def _added(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Scalars as Python numbers, arrays in 64 bits: sums of any size stay exact."""

    def wide(x: Any) -> Any:
        if np.ndim(x) == 0:
            return x.item()
        return x.astype(np.int64 if np.issubdtype(x.dtype, np.integer) else np.float64)

    return jax.tree.map(lambda *xs: sum(wide(x) for x in xs), *parts)


def _total(zeros: dict[str, Any]) -> dict[str, int]:
    return {name: int(z.sum(dtype=np.int64)) for name, z in zeros.items()}


def _each(sums: dict[str, Any], key: str) -> dict[str, int]:
    """What every example has, over the examples of a batch."""
    examples = int(sums["examples"])
    return {name: int(e) * examples for name, e in sums[key].items()}


def _tiles(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The tiles of every map over the set, if they were counted."""
    if "tiles" not in parts[0]:
        return {}
    return {
        "zero_tiles": _sum_by_name([_total(p["zero_tiles"]) for p in parts]),
        "tiles": _sum_by_name([_each(p, "tiles") for p in parts]),
        "union_tile": int(parts[0]["union_tile"]),
    }


def _sum_by_name(parts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
