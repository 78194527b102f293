"""Stages as values: the paper's pipeline is a list of them, and so is every other."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dst_jax.train.objective import Objective, Target, Term
from dst_jax.train.optimizer import Optimizer
from dst_jax.typing import Mask, Params

__all__ = [
    "Stage",
    "Thresholding",
    "control",
    "initial",
    "pretrain",
    "sparse_training",
    "sparsify_activations",
    "sparsify_weights",
]

MaskRule = Callable[[Params, Mask], Mask]
"""The mask a stage holds, from the weights it starts with and the mask so far."""


def keep_mask(params: Params, mask: Mask) -> Mask:
    """Goes on with the mask of the stage before."""
    del params
    return mask


def no_mask(params: Params, mask: Mask) -> Mask:
    """Trains all weights."""
    del params, mask


@dataclass(frozen=True)
class Thresholding:
    """A threshold for every activation map, as `activations.with_thresholds` has it.

    Attributes:
      value: entries below it become 0.
      kind: "hard" or "soft".
    """

    value: float
    kind: str = "hard"


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Attributes:
      name: the row it belongs to; the last phase of a name is evaluated on the test
        set. Also names its checkpoints, with `phase`.
      phase: distinguishes stages that share a name.
      epochs: how long; 0 only evaluates what it starts from.
      optimizer: builds the Optax transform once steps and mask are known.
      objective: what is minimised.
      mask: on entry, what is pruned.
      start: the name of the stage whose weights it starts from, or None for the
        stage before it in the list (fresh weights for the first).
      flops_aware: whether the activation term charges every element what it costs in
        multiplications with the weights that the stage starts from.
      dense_weights: whether the optimizer trains dense weights while the network
        computes with `pruning.sparse_params` (`holds=False` of a method). What is
        evaluated and handed on is sparse in any case.
      thresholding: on entry, put on every activation map, where it stays from then on;
        None leaves the maps as they are.
    """

    name: str
    phase: str
    epochs: float
    optimizer: Optimizer
    objective: Objective = field(default_factory=Objective)
    mask: MaskRule = keep_mask
    start: str | None = None
    flops_aware: bool = False
    dense_weights: bool = False
    thresholding: Thresholding | None = None

    def __post_init__(self) -> None:
        if not self.epochs >= 0:
            raise ValueError(f"{self.name}: epochs must be >= 0, got {self.epochs}")

    @property
    def path(self) -> str:
        """The name of its checkpoint directory."""
        return f"{self.name}.{self.phase}" if self.phase != self.name else self.name


def initial(optimizer: Optimizer) -> Stage:
    """The given weights as they are: the baseline row of a run that loads them."""
    return Stage("initial", "initial", 0, optimizer)


def pretrain(
    *, epochs: float, optimizer: Optimizer, label_smoothing: float = 0.0
) -> Stage:
    """Dense training, stage one of the paper."""
    objective = Objective(label_smoothing=label_smoothing)
    return Stage("pretrain", "pretrain", epochs, optimizer, objective, no_mask)


def control(
    *,
    epochs: float,
    optimizer: Optimizer,
    start: str,
    label_smoothing: float = 0.0,
) -> Stage:
    """The dense control: the baseline trained as long, without penalties or pruning.

    What a sparse network gains over its baseline may be due to the longer training;
    what it gains over this is due to sparsity.
    """
    objective = Objective(label_smoothing=label_smoothing)
    return Stage("control", "control", epochs, optimizer, objective, no_mask, start)


def sparsify_weights(
    *,
    prune: Callable[[Params], Mask],
    induce_epochs: float,
    finetune_epochs: float,
    optimizer: Optimizer,
    penalty: Term | None,
    start: str,
    activation: Term | None = None,
    flops_aware: bool = False,
    label_smoothing: float = 0.0,
    prunable: tuple[tuple[str, bool], ...] = (),
) -> list[Stage]:
    """Stage two of the paper: a penalty on weights, pruning, fine-tuning.

    With `activation`, activations are sparsified at the same time: joint training,
    a stage named `sparsify_jointly`.

    Args:
      prune: the mask from the weights after induction.
      induce_epochs: with the penalty; 0 leaves induction out.
      finetune_epochs: with the mask and no penalty on weights.
      optimizer: for both.
      penalty: the term over prunable weights.
      start: the name of the stage to start from.
      activation: a term over activation maps in both, or None.
      flops_aware: as in `Stage`, for that term.
      label_smoothing: of both.
      prunable: which weights the penalty sees.
    """
    name = "sparsify_weights" if activation is None else "sparsify_jointly"
    finetune = Stage(
        name,
        "finetune",
        finetune_epochs,
        optimizer,
        Objective(activation=activation, label_smoothing=label_smoothing),
        lambda params, _: prune(params),
        start if induce_epochs == 0 else None,
        flops_aware,
    )
    if induce_epochs == 0:
        return [finetune]
    induction = Objective(
        activation=activation,
        weight=penalty,
        label_smoothing=label_smoothing,
        prunable=prunable,
    )
    induce = Stage(
        name,
        "induce",
        induce_epochs,
        optimizer,
        induction,
        keep_mask,
        start,
        flops_aware,
    )
    return [induce, finetune]


def sparse_training(
    *,
    method: str,
    epochs: float,
    optimizer: Optimizer,
    start: str | None,
    mask: MaskRule = no_mask,
    dense_weights: bool = False,
    activation: Term | None = None,
    flops_aware: bool = False,
    label_smoothing: float = 0.0,
) -> Stage:
    """A method of `dst_jax.pruning` in place of stage two of the paper.

    Args:
      method: its name, which becomes the stage's phase.
      epochs: how long.
      optimizer: with the method around it, see `chain(sparsify=...)`.
      start: the name of the stage to start from.
      mask: the method's first mask, from the weights the stage starts with; by default
        the method chooses it.
      dense_weights: as in `Stage`.
      activation: a term over activation maps, which makes the stage
        `sparsify_jointly`; or None.
      flops_aware: as in `Stage`, for that term.
      label_smoothing: of the cross-entropy.
    """
    return Stage(
        "sparsify_weights" if activation is None else "sparsify_jointly",
        method,
        epochs,
        optimizer,
        Objective(activation=activation, label_smoothing=label_smoothing),
        mask,
        start,
        flops_aware,
        dense_weights,
    )


def sparsify_activations(
    *,
    epochs: float,
    optimizer: Optimizer,
    penalty: Term,
    start: str,
    target: Target | None = None,
    flops_aware: bool = False,
    label_smoothing: float = 0.0,
    thresholding: Thresholding | None = None,
    threshold_epochs: float | None = None,
) -> list[Stage]:
    """Stage three of the paper: a penalty on activation maps, the mask held.

    Args:
      epochs: how long.
      optimizer: of the stage.
      penalty: the term over activation maps.
      start: the name of the stage to start from.
      target: adapts the strength to a sparsity, starting from the term's.
      flops_aware: as in `Stage`.
      label_smoothing: of the cross-entropy.
      thresholding: of the maps, from the beginning (penalty and threshold together, in
        the spirit of STAR), or
      threshold_epochs: after `epochs` with the penalty alone, for so many more with
        both, as in ProSparse: a second phase.
    """
    name = "sparsify_activations"
    objective = Objective(
        activation=penalty, label_smoothing=label_smoothing, target=target
    )
    first = Stage(
        name,
        name if threshold_epochs is None else "penalise",
        epochs,
        optimizer,
        objective,
        keep_mask,
        start,
        flops_aware,
        thresholding=thresholding if threshold_epochs is None else None,
    )
    if threshold_epochs is None:
        return [first]
    # Without a warm-up: the strength has risen in the first phase.
    risen = replace(objective, activation=replace(penalty, warmup=0))
    second = replace(
        first,
        phase="threshold",
        epochs=threshold_epochs,
        objective=risen,
        start=None,
        thresholding=thresholding,
    )
    return [first, second]
