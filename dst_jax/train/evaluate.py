"""Evaluation over a whole set: every example once, sums exact."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from dst_jax import cost, data, pruning
from dst_jax.train.sharding import put_batch
from dst_jax.train.state import Weights
from dst_jax.train.step import EvalStep
from dst_jax.trees import named_leaves

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Sums over a set as Python integers, and what follows from them."""

    examples: int
    top1_count: int
    top5_count: int
    loss_sum: float
    zeros: dict[str, int]
    """Zeros of every activation map over the set."""
    elements: dict[str, int]
    weight_zeros: dict[str, int]
    """Zeros of every prunable leaf."""
    weight_elements: dict[str, int]
    counts: dict[str, cost.OpCounts]
    """Multiplications by operation; empty if not counted."""

    @property
    def top1(self) -> float:
        """Share of examples whose label has the highest logit."""
        return self.top1_count / self.examples

    @property
    def top5(self) -> float:
        """Share of examples whose label is among the five highest logits."""
        return self.top5_count / self.examples

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return self.loss_sum / self.examples

    @property
    def element_sparsity(self) -> float:
        """Zeros of all maps over elements of all maps."""
        return sum(self.zeros.values()) / sum(self.elements.values())

    @property
    def layer_mean_sparsity(self) -> float:
        """The plain mean of the maps' zero fractions."""
        shares = [self.zeros[k] / self.elements[k] for k in self.zeros]
        return sum(shares) / len(shares)

    @property
    def weight_sparsity(self) -> float:
        """Zeros of all prunable weights over all prunable weights."""
        return sum(self.weight_zeros.values()) / sum(self.weight_elements.values())

    def drop(self, reference: Literal["dense", "valid"]) -> float:
        """`1 - effectual / reference`, as `cost.drop`."""
        return cost.drop(self.counts, reference=reference)


def evaluate(
    eval_step: EvalStep,
    weights: Weights,
    batches: Iterable[data.EvalBatch],
    *,
    mesh: Mesh,
    prunable: Any = (),
    check: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Runs `eval_step` over all batches and adds up.

    Args:
      eval_step: from `make_eval_step`.
      weights: the network.
      batches: from `data.eval_batches`; the last may be smaller.
      mesh: from `make_mesh`.
      prunable: `((regex, bool), ...)`: which weights count for weight sparsity.
      check: called before every batch; may raise to stop.

    Raises:
      ValueError: there are no batches.
    """
    sums: list[dict[str, Any]] = []
    for batch in batches:
        check()
        # Corrupt records may have left a batch too small for the devices to share.
        shared = batch.sharded and len(batch.label) % mesh.local_mesh.size == 0
        arrays = {"image": batch.image, "label": batch.label}
        on_device = put_batch(arrays, mesh, sharded=shared)
        out = eval_step(weights.params, weights.model_state, on_device)
        sums.append(jax.device_get(out))
    if not sums:
        raise ValueError("batches is empty: there is nothing to evaluate on")
    kernels = named_leaves(pruning.masks.prunable(weights.params, prunable))
    return Evaluation(
        examples=sum(int(s["examples"]) for s in sums),
        top1_count=sum(int(s["top1"]) for s in sums),
        top5_count=sum(int(s["top5"]) for s in sums),
        loss_sum=sum(float(s["loss"]) for s in sums),
        zeros=_sum_by_name([_total(s["zeros"]) for s in sums]),
        elements=_sum_by_name([_elements(s) for s in sums]),
        weight_zeros={k: int(np.sum(np.asarray(w) == 0)) for k, w in kernels.items()},
        weight_elements={k: w.size for k, w in kernels.items()},
        counts=cost.accumulate(s["counts"] for s in sums)
        if "counts" in sums[0]
        else {},
    )


def _total(zeros: dict[str, Any]) -> dict[str, int]:
    return {name: int(z.sum(dtype=np.int64)) for name, z in zeros.items()}


def _elements(sums: dict[str, Any]) -> dict[str, int]:
    examples = int(sums["examples"])
    return {name: int(e) * examples for name, e in sums["elements"].items()}


def _sum_by_name(parts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in parts) for name in parts[0]}
