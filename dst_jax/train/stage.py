"""A stage as a value: what is trained, with which objective, what happens around it."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from dst_jax import checks
from dst_jax.parametrisations import Parametrisation
from dst_jax.train.accepted import accepted
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import Optimizer
from dst_jax.typing import Network, Params, Schedule, Within

__all__ = ["Hook", "MakeSchedules", "Stage", "accepted", "check_order"]

Hook = Callable[..., Network]
"""`(network) -> network`, or `(network, *, context) -> network`."""


@runtime_checkable
class MakeSchedules(Protocol):
    """Makes the schedules of a stage once its steps are known."""

    def __call__(self, *, steps: int, steps_per_epoch: int) -> Mapping[str, Schedule]:
        """Schedules by the names of what they move, for a stage of `steps` steps."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training.

    What happens on entry and exit is a function of a network that returns a network:
    with another mask, other variables, or smaller ones and another model. If it has an
    argument `context`, it is given the run's `Context`, which has the data. It must be
    deterministic: a resumed run calls it again. It is traced abstractly first; where
    shapes depend on values, nothing behind it can be checked before training begins,
    unless it has a method `rehearse(network, *, context)` that returns the shapes of a
    network such as it will return.

    Attributes:
      name: the row it belongs to; the last phase of a name is evaluated on the test
        set. Also names its checkpoints, with `phase`.
      phase: distinguishes stages that share a name; the name itself if not given.
      title: what reports call what the stage leaves behind; the name if not given.
      epochs: how long; 0 only evaluates what it starts from.
      optimizer: builds the Optax transform once steps, mask and kernels are known.
      objective: what is minimised.
      schedules: variables that follow the step, functions of it by the variable's path
        (`thresholds/relu1/hard`), by the path of all below it (`phases`), or by a name
        that the parametrisation reads. Each is one traced value a step. A function
        `(*, steps, steps_per_epoch) -> schedules` makes them of the stage's length.
      parametrisation: from what is trained to the network's weights; None is the
        identity. A method that trains dense weights has its part in any case (see
        `train.state.follow`), so that what is evaluated and handed on is sparse.
      first_weights: what training starts from, a function of what is trained and its
        first mask, `(params, mask)` or `(params, mask, *, kernels)`, such as
        `pruning.scale_to_fan_in`; only where pruned weights are held at 0.
      on_entry: the network that is trained, from the one before; None leaves it and its
        mask as they are.
      on_exit: the network that is handed on, from the trained one; None leaves it.
      start: the name of the stage whose network it starts from, or None for the stage
        before it in the list (a fresh network for the first).
      flops_aware: whether terms over maps charge every element what it costs in
        multiplications with the weights that the stage starts from.
      completed_by: what says the rest once the network that is trained is known, such
        as gates on its channels: `(stage, network, *, context) -> stage`, from the
        stage and the network after entry, of which shapes must do.
      continues: whether it goes on with the optimizer state of the phase before it,
        of which goes what entry removes from the network; otherwise the optimizer
        starts anew. Both phases need the same optimizer, as `Spanning` makes it.
      dense_gradients: whether a step needs the gradients of pruned weights, for the
        ledger of multiplications: `(step, *, steps, steps_per_epoch) -> bool`, with 1
        for the first step. None: at every step where the optimizer trains dense
        weights, else never.
      within: the context that the network is traced in where it is trained, made anew
        for every trace: `partial(activations.saving_largest, 0.8)`. Evaluation is
        outside of it.

    >>> import optax
    >>> def sgd(*, steps, steps_per_epoch, mask, seed):
    ...     return optax.sgd(0.1)
    >>> Stage(name="sparsify_weights", phase="finetune", epochs=1, optimizer=sgd).path
    'sparsify_weights.finetune'
    """

    name: str
    phase: str = ""
    title: str = ""
    epochs: float
    optimizer: Optimizer
    objective: Objective = field(default_factory=Objective)
    schedules: Mapping[str, Schedule] | MakeSchedules = field(default_factory=dict)
    parametrisation: Parametrisation | None = None
    first_weights: Callable[..., Params] | None = None
    on_entry: Hook | None = None
    on_exit: Hook | None = None
    start: str | None = None
    flops_aware: bool = False
    completed_by: Callable[..., "Stage"] | None = None
    continues: bool = False
    dense_gradients: Callable[..., bool] | None = None
    within: Within = nullcontext

    def __post_init__(self) -> None:
        object.__setattr__(self, "phase", self.phase or self.name)
        object.__setattr__(self, "title", self.title or self.name)
        if not 0 <= self.epochs < math.inf:
            raise ValueError(
                f"{self.name}: epochs must be >= 0 and finite, got {self.epochs}"
            )

    @property
    def path(self) -> str:
        """The name of its checkpoint directory."""
        return f"{self.name}.{self.phase}" if self.phase != self.name else self.name


def check_order(stages: Sequence[Stage]) -> None:
    """Refuses a list of stages that cannot be run one after another.

    Args:
      stages: all phases, in order.

    Raises:
      ValueError: a stage starts from one that is not before it, two phases have one
        name, phases of another stage are between those of one, or one that continues
        follows no phase of its own stage.

    >>> dense = Stage(name="dense", epochs=1, optimizer=print)
    >>> sparse = Stage(name="sparse", epochs=1, optimizer=print, start="danse")
    >>> check_order([dense, sparse])
    Traceback (most recent call last):
    ValueError: stage sparse: start must be one of ('dense',), got 'danse'; did you ...
    """
    before: list[Stage] = []
    for stage in stages:
        names = tuple(dict.fromkeys(other.name for other in before))
        if stage.start is not None:
            checks.one_of(f"stage {stage.path}: start", stage.start, names)
        if stage.path in [other.path for other in before]:
            raise ValueError(f"stage {stage.path} is there twice: give it another name")
        if stage.name in names[:-1]:
            raise ValueError(
                f"stage {stage.path}: phases of {stage.name} must follow each other"
            )
        follows = before and before[-1].name == stage.name and stage.start is None
        if stage.continues and not follows:
            raise ValueError(
                f"stage {stage.path}: continues is for a phase that follows another of"
                f" {stage.name}, got start {stage.start!r} after"
                f" {[other.path for other in before[-1:]]}"
            )
        before.append(stage)
