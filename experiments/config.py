"""The options of an experiment. Only experiments know configs."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

__all__ = [
    "Activation",
    "Config",
    "Data",
    "Init",
    "Model",
    "Optim",
    "Pretrain",
    "Prune",
    "Run",
    "differences",
    "nested",
]

Penalty = Literal["l1", "hoyer_square", "transformed_l1"]
StageName = Literal["pretrain", "sparsify_weights", "sparsify_activations"]


@dataclass(frozen=True)
class Data:
    """Which images, and how they are fed."""

    name: str = "digits"
    """Data set: see `python -m dst_jax.data prepare --help`; `digits` needs none."""
    dir: str | None = None
    """Where prepared sets lie; else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    image_size: int | None = None
    """Height and width of the images in pixels; the data set's own if not given."""
    batch_size: int = 128
    """Training images per step, over all devices of all hosts."""
    eval_batch_size: int = 256
    """Evaluation images per step, over all devices of all hosts."""
    holdout: float | None = None
    """Share of the training set kept apart for choices; the set's own if not given."""
    threads: int | None = None
    """Loader threads; one per core if not given."""
    workers: int = 0
    """Loader processes, for hosts with many cores; 0 uses threads."""


@dataclass(frozen=True)
class Model:
    """The network."""

    name: str = "resnet18"
    """lenet5, resnet18, resnet34 or resnet50."""
    stem: Literal["imagenet", "cifar"] | None = None
    """First layer of a ResNet: 7x7/2 with pooling, or 3x3."""
    width: float | None = None
    """Factor on a ResNet's channel counts."""
    relu_logits: bool | None = None
    """LeNet5: a ReLU after the logits, as the original baseline has."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What is computed in; parameters stay float32."""


@dataclass(frozen=True)
class Optim:
    """The optimizer of all stages; each stage has its own learning rate."""

    rule: Literal["sgd", "adamw"] = "sgd"
    """Update rule."""
    momentum: float = 0.9
    """Of SGD."""
    nesterov: bool = False
    """Nesterov momentum for SGD."""
    weight_decay: float = 1e-4
    """On kernels only."""
    decay: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate over a stage."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of a stage at which `step` decay multiplies by `factor`."""
    factor: float = 0.1
    """Of `step` decay."""
    warmup_epochs: float = 0.0
    """Linear warm-up at the start of pre-training."""
    clip: float | None = None
    """Largest global gradient norm."""
    accumulate: int = 1
    """Batches averaged into one update."""
    label_smoothing: float = 0.0
    """Of the cross-entropy."""


@dataclass(frozen=True)
class Pretrain:
    """Stage one: dense training."""

    epochs: float = 90
    """Length."""
    lr: float = 0.1
    """Peak learning rate."""


@dataclass(frozen=True)
class Prune:
    """Stage two: a penalty on weights, pruning, fine-tuning."""

    penalty: Penalty = "l1"
    """Penalty on the prunable weights while inducing."""
    strength: float = 1e-5
    """Its strength lambda."""
    a: float | None = None
    """Shape parameter of transformed_l1; 1 if not given."""
    induce_epochs: float = 20
    """Length of the induction; 0 prunes at once."""
    sparsity: float | None = 0.6
    """Share of the prunable weights to remove, in [0, 1); or give a threshold."""
    threshold: float | None = None
    """Remove |w| below this, instead of a target sparsity."""
    scope: Literal["global", "layer", "erk"] = "global"
    """How a target sparsity is shared out between layers."""
    rules: tuple[str, ...] = ()
    """Which leaves are prunable: REGEX=true or REGEX=false, first match wins."""
    finetune_epochs: float = 20
    """Length of the fine-tuning with the mask held."""
    lr: float = 0.01
    """Peak learning rate of both parts."""


@dataclass(frozen=True)
class Activation:
    """Stage three: a penalty on activation maps, the mask held."""

    penalty: Penalty = "transformed_l1"
    """Penalty on every post-ReLU map."""
    strength: float = 1e-7
    """Its strength (alpha in the paper): sum over elements, mean over the batch."""
    a: float | None = None
    """Shape parameter of transformed_l1 (beta in the paper); 1 if not given."""
    layers: tuple[str, ...] = ()
    """Weights of single maps: REGEX=NUMBER, first match wins; others have 1."""
    epochs: float = 20
    """Length."""
    lr: float = 0.01
    """Peak learning rate."""


@dataclass(frozen=True)
class Init:
    """Trained weights to start from, instead of fresh ones."""

    path: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run directory, a stage's checkpoint directory or one checkpoint."""


@dataclass(frozen=True)
class Run:
    """Where the run lives and what it does."""

    dir: str | None = None
    """Run directory; the same command again resumes. Default: runs/NAME-PRESET."""
    seed: int = 0
    """Of initialisation, data order and augmentation."""
    stages: tuple[StageName, ...] = (
        "pretrain",
        "sparsify_weights",
        "sparsify_activations",
    )
    """Which stages, in which order."""
    control: bool = False
    """Also train the dense control: the baseline for as many epochs, no penalties."""
    log_every: int = 50
    """Steps between lines of metrics."""
    eval_every: int = 1
    """Epochs between evaluations on the hold-out."""
    save_every: int = 0
    """Steps between checkpoints within an epoch; 0 saves at epochs' ends only."""
    compilation_cache: str | None = None
    """Directory of XLA's persistent compilation cache."""
    multihost: bool = False
    """Call jax.distributed.initialize() first; start the same command on every host."""


@dataclass(frozen=True)
class Config:
    """All options."""

    preset: Literal["full", "small", "demo"] = "full"
    """Where the other options start from."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    pretrain: Pretrain = field(default_factory=Pretrain)
    prune: Prune = field(default_factory=Prune)
    activation: Activation = field(default_factory=Activation)
    init: Init = field(default_factory=Init)
    run: Run = field(default_factory=Run)


def nested(config: Config) -> dict[str, Any]:
    """The configuration as JSON knows it."""
    return dataclasses.asdict(config)


_ANYWHERE = {
    "preset",
    "data.dir",
    "data.threads",
    "run.dir",
    "run.log_every",
    "run.save_every",
    "run.compilation_cache",
}


def differences(config: Config, earlier: Mapping[str, Any]) -> list[str]:
    """The options that would make a resumed run another run than it was."""
    now, then = _flat(nested(config)), _flat(earlier)
    names = sorted((now.keys() | then.keys()) - _ANYWHERE)
    return [
        f"--{name} is {now.get(name)}, was {then.get(name)}"
        for name in names
        if now.get(name) != then.get(name)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = list(value) if isinstance(value, tuple) else value
    return out
