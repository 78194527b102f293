"""Channels are removed, at once or in steps, and the smaller network is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np

from dst_jax import checks
from dst_jax.channels import Groups, Keep, Plan
from dst_jax.models.smaller import Smaller, groups_of, labelled, smaller_network
from dst_jax.train import integrity
from dst_jax.train.agreement import agreed
from dst_jax.train.carried_state import Spanning
from dst_jax.train.distillation import Distilled, distillation_term, student_of
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import Optimizer
from dst_jax.train.saved_network import plan_of, plans_in
from dst_jax.train.stage import Stage
from dst_jax.train.unit_choice import UnitChoice
from dst_jax.train.unit_scores import abstract_scores, unit_score, unit_scores
from dst_jax.typing import Network, is_traced

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["Distillation", "RemoveUnits", "remove_channels"]

NAME = "remove_channels"


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Inner distillation from the network before anything was removed.

    The loss is that of the task plus `strength / maps * sum mean((x - t)^2)` over
    activation maps `x` of the smaller network and `t` of the whole one.

    Attributes:
      strength: the factor, gamma.
      features: "linear", where widths differ `x W` is compared with a matrix `W` that
        is trained in the stage and dropped at its end; "kept", the channels that are
        kept are compared.
      maps: regexes of names of maps; all maps if there are none.

    Reference:
      Aflalo et al. 2020 (arXiv 2002.08258); which maps it compares is not said there.

    >>> Distillation(features="all")
    Traceback (most recent call last):
    ValueError: features must be one of ('linear', 'kept'), got 'all'
    """

    strength: float = 20.0
    features: str = "linear"
    maps: Sequence[str] = ()

    def __post_init__(self) -> None:
        checks.at_least("strength", self.strength, 0)
        checks.one_of("features", self.features, ("linear", "kept"))
        object.__setattr__(self, "maps", tuple(self.maps))


def remove_channels(
    *,
    choice: UnitChoice,
    epochs: float,
    optimizer: Optimizer,
    start: str | None,
    steps: int = 1,
    batches: int | None = None,
    distillation: Distillation | None = None,
) -> list[Stage]:
    """Removal of channels with training after it: the stage, or a phase for each step.

    With several steps, equal shares of what is to be removed go one after another, each
    with the same part of the epochs after it. All steps have one optimizer, which the
    stage starts anew: its state, such as momentum, loses what the network loses, and
    its learning rate follows one schedule. A mask is made smaller with its weights.

    Args:
      choice: which units go.
      epochs: length of the training, of all steps together; 0 removes only.
      optimizer: optimizer of all steps.
      start: name of the stage to start from.
      steps: number of steps.
      batches: batches of the training set for scores that need data; an epoch if None.
      distillation: makes the maps follow those of the network before the stage.

    Raises:
      ValueError: `steps` or `batches` is below 1.

    >>> from dst_jax import train
    >>> stages = remove_channels(
    ...     choice=UnitChoice(ratio=0.5), epochs=4, start="pretrain", steps=2,
    ...     optimizer=lambda **_: train.chain(0.1))
    >>> [(stage.path, stage.epochs, stage.continues) for stage in stages]
    [('remove_channels.step1', 2.0, False), ('remove_channels.step2', 2.0, True)]
    """
    checks.at_least("steps", steps, 1)
    if batches is not None:
        checks.at_least("batches", batches, 1)
    terms = () if distillation is None else (distillation_term(distillation.strength),)
    only = Stage(
        name=NAME,
        title="smaller",
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=terms),
        on_entry=RemoveUnits(NAME, choice, batches, distillation),
        on_exit=None if distillation is None else student_of,
        start=start,
    )
    if steps == 1:
        return [only]
    spanning = Spanning(optimizer, epochs)
    phases = []
    for step in range(1, steps + 1):
        entry = RemoveUnits(
            f"{NAME}.step{step}", choice, batches, distillation, step / steps
        )
        phases.append(
            replace(
                only,
                phase=f"step{step}",
                epochs=epochs / steps,
                optimizer=spanning,
                on_entry=entry,
                on_exit=only.on_exit if step == steps else None,
                start=start if step == 1 else None,
                continues=step > 1,
            )
        )
    return phases


@dataclass(frozen=True)
class RemoveUnits:
    """Removes units from a network on a stage's entry.

    What is removed depends on values. A stage that has a checkpoint goes on with what
    was removed there.

    Attributes:
      path: path of the stage.
      choice: which units go.
      batches: batches for scores that need data; an epoch if None.
      distillation: gives the network a teacher: the one that the first step got.
      done: share of the removal that is reached then.

    >>> RemoveUnits("remove_channels", UnitChoice(ratio=0.5)).done
    1.0
    """

    path: str
    choice: UnitChoice
    batches: int | None = None
    distillation: Distillation | None = None
    done: float = 1.0

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The smaller network."""
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        student, groups = self._groups(network, context)
        plan = self._saved(context)
        if plan is None:
            keep = self._keep(student, groups, context)
        else:
            keep = plan.since(_plan(student))
        return self._removed(network, student, groups, keep)

    def rehearse(self, network: Network, *, context: "Context") -> Network:
        """The shapes of a network from which as much is removed, of equal scores.

        Raises:
          ValueError: the network has no such scores, no groups, or its smallest form
            costs more than the budget.
        """
        student, groups = self._groups(network, context)
        score = unit_score(self.choice.score)
        abstract_scores(context, student, self.choice.open_to(groups), score)
        scores = {name: np.ones(group.size) for name, group in groups.items()}
        keep = {name: np.ones(group.size, bool) for name, group in groups.items()}
        if self.choice.threshold is None:
            keep = self.choice.keep(
                student, groups, scores, example=context.example, done=self.done
            )
        removed = partial(self._removed, groups=groups, keep=keep)
        return jax.eval_shape(lambda own: removed(own, student_of(own)), network)

    def _groups(self, network: Network, context: "Context") -> tuple[Network, Groups]:
        """The network without its teacher, and its groups."""
        student = labelled(student_of(network), context.example)
        split = self.choice.split
        return student, groups_of(student, context.example, split=split)

    def _keep(self, student: Network, groups: Groups, context: "Context") -> Keep:
        scores = unit_scores(
            context,
            student,
            self.choice.open_to(groups),
            unit_score(self.choice.score),
            path=self.path,
            batches=self.batches or context.steps_per_epoch,
        )
        keep = self.choice.keep(
            student, groups, scores, example=context.example, done=self.done
        )
        kept = sum(int(own.sum()) for own in keep.values())
        units = sum(own.size for own in keep.values())
        context.console.say(
            f"{self.path}: {kept} of {units} units of {len(keep)} groups stay"
        )
        return keep

    def _removed(
        self, network: Network, student: Network, groups: Groups, keep: Keep
    ) -> Network:
        """The network, with its teacher if there is one, without these units."""
        if isinstance(network.model, Distilled):
            return network.model.shrunk(network.variables, network.mask, keep)
        small = smaller_network(student, groups, keep)
        if self.distillation is None:
            return small
        return Distilled.network(
            small,
            network,
            learned=self.distillation.features == "linear",
            maps=self.distillation.maps,
            more=self.done < 1,
        )

    def _saved(self, context: "Context") -> Plan | None:
        """The plan in the newest intact checkpoint of the stage."""
        found = integrity.numbered(context.run.checkpoints / self.path)
        intact = (path for path in found if integrity.find_fault(path) is None)
        newest = next(intact, None)
        if not agreed(newest is not None):
            return None
        return None if newest is None else plan_of(plans_in(newest))


def _plan(network: Network) -> Plan | None:
    return network.model.plan if isinstance(network.model, Smaller) else None
