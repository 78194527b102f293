"""The options of an experiment. Only experiments know configs."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import tyro

__all__ = [
    "ANYWHERE",
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
    "from_nested",
    "nested",
    "network",
]

T = TypeVar("T")
StageName = Literal[
    "pretrain", "sparsify_weights", "sparsify_activations", "sparsify_jointly"
]


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
    augment: tuple[str, ...] | None = None
    """Augmentations in training: of pad_crop, flip, affine; the set's own if not given,
    none if given without a value."""
    standardise: bool = True
    """Subtract the set's mean and divide by its deviation; otherwise black is 0."""
    threads: int | None = None
    """Loader threads; one per core if not given."""
    workers: int = 0
    """Loader processes, for hosts with many cores; 0 uses threads."""


@dataclass(frozen=True)
class Model:
    """The network."""

    name: str = "resnet18"
    """One of models.names(); `python -m dst_jax.models NAME` describes it."""
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
    """Stage two: a penalty on weights, pruning, fine-tuning; or a method of sparse
    training in place of the three."""

    method: str | None = None
    """A name of pruning.names() in place of stage two: one stage, as long as induction
    and fine-tuning; None is the paper's."""
    method_options: tuple[str, ...] = ()
    """Its options: NAME=VALUE. What counts optimizer steps is a number of them, a share
    of the stage (end=75%) or epochs (interval=0.5ep)."""
    method_start: Literal["method", "magnitude"] = "method"
    """Its first mask: its own choice, or the largest of the weights it starts with."""
    penalty: str = "l1"
    """Penalty on the prunable weights while inducing: a name of penalties.names()."""
    strength: float = 1e-5
    """Its strength lambda."""
    a: float | None = None
    """Shape parameter of transformed_l1; 1 if not given."""
    options: tuple[str, ...] = ()
    """The penalty's shape parameters: NAME=NUMBER; its defaults if not given."""
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

    penalty: str = "transformed_l1"
    """Penalty on every post-ReLU map: a name of penalties.names()."""
    strength: float = 1e-7
    """Its strength (alpha in the paper): sum over elements, mean over the batch."""
    a: float | None = None
    """Shape parameter of transformed_l1 (beta in the paper); 1 if not given."""
    options: tuple[str, ...] = ()
    """The penalty's shape parameters: NAME=NUMBER; its defaults if not given."""
    layers: tuple[str, ...] = ()
    """Weights of single maps: REGEX=NUMBER, first match wins; others have 1."""
    flops_aware: bool = False
    """Charge every activation the multiplications that it takes part in."""
    target: float | None = None
    """Sparsity to reach: the strength adapts itself to it, from `strength` on. With
    flops_aware: share of the multiplications by penalised activations to save."""
    max_loss: float = 0.1
    """With a target: the cross-entropy of training batches may rise to this."""
    gain: float = 0.05
    """With a target: how fast the strength follows, per step."""
    warmup_epochs: float = 0.0
    """Over so many epochs the strength rises from 0."""
    ramp: Literal["linear", "sine"] = "linear"
    """How it rises: evenly, or along half a sine as in ProSparse."""
    threshold: float | None = None
    """Entries of every map below it become 0, in training and after it: FATReLU."""
    threshold_kind: Literal["hard", "soft"] = "hard"
    """Entries above it stay as they are, or shrink by it: the proximal activation."""
    threshold_epochs: float | None = None
    """The threshold acts from the end of `epochs` on, for so many epochs more, as in
    ProSparse; if not given it acts from the beginning."""
    epochs: float = 20
    """Length."""
    lr: float = 0.01
    """Peak learning rate."""


@dataclass(frozen=True)
class Init:
    """Trained weights to start from, instead of fresh ones."""

    path: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run directory, a stage's checkpoints, one checkpoint, a .safetensors, .pth,
    .pt or .bin file, or torchvision:NAME."""


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
    """Which stages, in which order; sparsify_jointly is both of the others in one."""
    control: bool = False
    """Also train the dense control: the baseline for as many epochs, no penalties."""
    log_every: int = 50
    """Steps between lines of metrics."""
    eval_every: int = 1
    """Epochs between evaluations on the hold-out."""
    save_every: int = 0
    """Steps between checkpoints within an epoch; 0 saves at epochs' ends only."""
    accelerators: tuple[str, ...] = ()
    """Modelled accelerators to estimate every stage on: see dst_jax.cost."""
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


def network(model: Model) -> dict[str, Any]:
    """The options of `models.create` that are given; others are left to the model."""
    values = dataclasses.asdict(model)
    apart = ("name", "dtype")
    return {k: v for k, v in values.items() if k not in apart and v is not None}


def nested(config: Any) -> dict[str, Any]:
    """The configuration as JSON knows it."""
    return dataclasses.asdict(config)


ANYWHERE = {
    "preset",
    "data.dir",
    "data.threads",
    "run.dir",
    "run.log_every",
    "run.save_every",
    "run.compilation_cache",
}
"""Options that do not change what is computed."""


def from_nested(record: Mapping[str, Any], kind: type[T] = Config) -> T:
    """The options that `nested` wrote; those it lacks have their defaults.

    Raises:
      ValueError: it holds an option that there is not.
    """
    return _built(kind, record, "")


def _built(kind: Any, record: Mapping[str, Any], prefix: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(record.keys() - fields.keys())
    if unknown:
        raise ValueError(f"there is no option --{prefix}{unknown[0]}")
    values = {}
    for name, value in record.items():
        inner = fields[name].default_factory
        if dataclasses.is_dataclass(inner):
            values[name] = _built(inner, value, f"{prefix}{name}.")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def differences(
    config: Any, earlier: Mapping[str, Any], *, free: Collection[str] = ANYWHERE
) -> list[str]:
    """The options that would make a resumed run another run than it was.

    An option that did not exist yet counts as if its default had been given.

    Args:
      config: the configuration now.
      earlier: the configuration on disk.
      free: dotted names of options that may differ.
    """
    now = _flat(nested(config))
    then = _flat(nested(type(config)())) | _flat(earlier)
    names = sorted((now.keys() | then.keys()) - set(free))
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
