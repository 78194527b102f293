"""The results of one run as frozen values: everything that a report is made of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dst_jax.report.accelerator_records import AcceleratorRecord
from dst_jax.report.channel_records import ForwardTime, UnitCount
from dst_jax.report.picture_records import Pictures
from dst_jax.report.storage_records import StoredTensor
from dst_jax.report.task_records import TaskRecord, task_record
from dst_jax.report.training_ledger import TrainingCost
from dst_jax.report.training_phases import Phase
from dst_jax.runs import UNTRAINED

__all__ = ["Drift", "Products", "RunResults", "StageResults", "Zeros"]


@dataclass(frozen=True)
class Zeros:
    """Zeros among the elements of one activation map or one weight kernel."""

    zeros: int
    elements: int

    @property
    def sparsity(self) -> float:
        """Share of zeros, in [0, 1]; NaN without elements.

        >>> Zeros(30, 40).sparsity
        0.75
        """
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
        """Effectual / dense, in [0, 1]; NaN without products.

        >>> Products(4000, 4000, 2000, 1000, 500).remaining
        0.125
        """
        return self.effectual / self.dense if self.dense else float("nan")


@dataclass(frozen=True)
class Drift:
    """How far a stage's weights are from those that the run started from."""

    euclidean: float
    cosine: float


@dataclass(frozen=True)
class StageResults:
    """What the evaluation at the end of one stage found.

    Shares are in [0, 1], and NaN where they were not measured.

    Attributes:
      name: name of the stage in the run directory.
      title: words for it in tables and figures.
      test: metrics of the task by name, on the test images; the best one is there.
      examples: number of test images.
      weight_sparsity: share of zeros among all prunable weights.
      activation_element: share of zeros among the elements of all maps.
      activation_layer_mean: plain mean of the maps' own shares of zeros.
      drop_dense: share of the dense multiplications with a zero operand.
      drop_valid: the same share without the products with padding.
      holdout: metrics on the hold-out; None if none was set aside.
      drift: distance from what the run started from; None for that itself.
      seconds: training time.
      epochs: length of the stage.
      images_per_second: speed of training; None if nothing was timed.
      waiting: share of the time spent waiting for data; None if nothing was timed.
      activations: zeros by activation map.
      tiles: by activation map, tiles of neighbours in which a channel is zero.
      union_tile: side of these tiles; 0 if they were not counted.
      weights: zeros by weight kernel.
      products: multiplications by layer.
      weight_products: multiplications of two weights, by layer; mostly none.
      accelerators: estimates by accelerator; empty if there are none.
      parameters: number of parameters; None if it is not recorded.
      shapes: shapes of the parameters by path; empty if they are not recorded.
      channels: units by group, where channels have been removed; else empty.
      rounds: by phase, the channels that are left of every group; empty if none are
        removed.
      forward_time: measured time of the smaller network; None if there is none.
      pictures: images with a label for every pixel, and what the network says; None
        for other tasks.
      storage: bits of its tensors in every format; empty if they were not measured.
    """

    name: str
    title: str
    test: Mapping[str, float]
    examples: int
    weight_sparsity: float = math.nan
    activation_element: float = math.nan
    activation_layer_mean: float = math.nan
    drop_dense: float = math.nan
    drop_valid: float = math.nan
    holdout: Mapping[str, float] | None = None
    drift: Drift | None = None
    seconds: float = 0.0
    epochs: float = 0.0
    images_per_second: float | None = None
    waiting: float | None = None
    activations: Mapping[str, Zeros] = field(default_factory=dict)
    tiles: Mapping[str, Zeros] = field(default_factory=dict)
    union_tile: int = 0
    weights: Mapping[str, Zeros] = field(default_factory=dict)
    products: Mapping[str, Products] = field(default_factory=dict)
    weight_products: Mapping[str, Products] = field(default_factory=dict)
    accelerators: Mapping[str, AcceleratorRecord] = field(default_factory=dict)
    parameters: int | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    channels: Mapping[str, UnitCount] = field(default_factory=dict)
    rounds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    forward_time: ForwardTime | None = None
    pictures: Pictures | None = None
    storage: tuple[StoredTensor, ...] = ()


@dataclass(frozen=True)
class RunResults:
    """One run: its finished stages in order, its training curves, its settings.

    Attributes:
      path: run directory.
      config: object of config.json.
      stages: finished stages in order of execution.
      unfinished: files that are still missing.
      phases: training curves of all phases.
      masks: lines of masks.jsonl.
      training: multiplications of training by stage; empty without a ledger.
      params_sha256: digest of the final parameters; None for an unfinished run.
      task: task that the run was trained for.
    """

    path: Path
    stages: tuple[StageResults, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    masks: tuple[Mapping[str, Any], ...] = ()
    training: Mapping[str, TrainingCost] = field(default_factory=dict)
    params_sha256: str | None = None
    task: TaskRecord = field(default_factory=lambda: task_record({}))

    @property
    def name(self) -> str:
        """The name of the run directory.

        >>> RunResults(Path("runs/mnist"), ()).name
        'mnist'
        """
        return self.path.name

    @property
    def baseline(self) -> StageResults | None:
        """What the run started from, trained or given; None if it has no such row.

        >>> start = StageResults("pretrain", UNTRAINED, {"top1": 0.1}, 8)
        >>> RunResults(Path("run"), (start,)).baseline is None
        True
        """
        starts = ("pretrain", "initial")
        return next((s for s in self.compared if s.name in starts), None)

    @property
    def control(self) -> StageResults | None:
        """The dense control: the baseline trained for as long as what follows it.

        >>> RunResults(Path("run"), ()).control is None
        True
        """
        return next((s for s in self.compared if s.name == "control"), None)

    @property
    def compared(self) -> tuple[StageResults, ...]:
        """The stages that are compared with one another: all but an untrained start.

        >>> start = StageResults("pretrain", UNTRAINED, {"top1": 0.1}, 8)
        >>> pruned = StageResults("sparsify_weights", "pruned", {"top1": 0.9}, 8)
        >>> [s.title for s in RunResults(Path("run"), (start, pruned)).compared]
        ['pruned']
        """
        return tuple(s for s in self.stages if s.title != UNTRAINED)
