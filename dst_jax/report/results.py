"""The results of one run as frozen values: all that a report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dst_jax.report.accelerator_records import Machine
from dst_jax.report.series import Phase

__all__ = ["Drift", "Products", "Results", "Scores", "Stage", "Zeros"]


@dataclass(frozen=True)
class Zeros:
    """Zeros among the elements of one activation map or one weight kernel."""

    zeros: int
    elements: int

    @property
    def sparsity(self) -> float:
        """Share of zeros, in [0, 1]; NaN without elements."""
        return self.zeros / self.elements if self.elements else float("nan")


@dataclass(frozen=True)
class Products:
    """Multiplications of one layer over all test images (`dst_jax.cost` counts)."""

    dense: int
    valid: int
    by_activation: int
    by_weight: int
    effectual: int

    @property
    def remaining(self) -> float:
        """Effectual / dense, in [0, 1]; NaN without products."""
        return self.effectual / self.dense if self.dense else float("nan")


@dataclass(frozen=True)
class Scores:
    """Accuracy in [0, 1] and loss on one set of images."""

    top1: float
    top5: float | None
    loss: float


@dataclass(frozen=True)
class Drift:
    """How far a stage's weights are from the dense baseline's."""

    euclidean: float
    cosine: float


@dataclass(frozen=True)
class Stage:
    """What the evaluation at the end of one stage found; shares are in [0, 1]."""

    name: str
    title: str
    test: Scores
    examples: int
    weight_sparsity: float
    activation_element: float
    activation_layer_mean: float
    drop_dense: float
    drop_valid: float
    holdout: Scores | None
    drift: Drift | None
    seconds: float
    epochs: float
    images_per_second: float | None
    waiting: float | None
    activations: Mapping[str, Zeros]
    weights: Mapping[str, Zeros]
    products: Mapping[str, Products]
    machines: Mapping[str, Machine]
    """Estimates by accelerator; empty if the stage was not estimated."""


@dataclass(frozen=True)
class Results:
    """One run: its finished stages in order, its training curves, its settings."""

    path: Path
    config: Mapping[str, Any]
    stages: tuple[Stage, ...]
    unfinished: tuple[str, ...]
    phases: tuple[Phase, ...]
    masks: tuple[Mapping[str, Any], ...]
    """Lines of masks.jsonl."""
    params_sha256: str | None

    @property
    def name(self) -> str:
        """The name of the run directory."""
        return self.path.name

    @property
    def baseline(self) -> Stage | None:
        """What the run started from, trained or given; None if it has no such row."""
        starts = ("pretrain", "initial")
        return next((s for s in self.stages if s.name in starts), None)
