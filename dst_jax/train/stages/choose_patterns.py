"""N:M search: each layer chooses between patterns of its weights and of its input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import numpy as np

from dst_jax import checks
from dst_jax.models.linen import Linen
from dst_jax.train.choosing import (
    CHOICE,
    COST,
    Choosing,
    chosen,
    layers_of,
    with_candidate,
)
from dst_jax.train.distillation import map_term
from dst_jax.train.estimates import estimate
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import Optimizer
from dst_jax.train.pattern_choice import CANDIDATES, Candidate, annealed
from dst_jax.train.stage import Stage
from dst_jax.typing import Network, Schedule, is_traced

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["choose_patterns"]

NAME = "choose_patterns"


def choose_patterns(
    *,
    epochs: float,
    optimizer: Optimizer,
    finetune_epochs: float = 5,
    accelerator: str = "tensor_core_2_4",
    strength: float = 0.1,
    candidates: Sequence[Candidate] = CANDIDATES,
    speed: float = 10.0,
    start: str | None = None,
) -> list[Stage]:
    """The N:M search: weights and logits are trained together, then a hard choice.

        loss + strength * sum_l sum_c softmax(a_l / temperature)_c cost_lc / dense cost

    over layers l and candidates c. Costs are cycles of the layer on an accelerator,
    with every layer under that candidate, on training images. The temperature falls
    from 1 to 0.05. In evaluation the network of the search is dense; at its end every
    layer takes its largest logit: weights get a mask, which the fine-tuning holds, and
    inputs a pattern (`activations.with_patterns`). Layers whose channels an M does not
    divide stay dense.

    As a stage of a run: `--run.stages pretrain dst_jax.train.stages:choose_patterns
    --stage.options strength=0.1`.

    Args:
      epochs: length of the search.
      optimizer: optimizer of both phases.
      finetune_epochs: length of the fine-tuning.
      accelerator: accelerator whose cycles are the costs.
      strength: factor of the cost, of which 1 is the dense network's.
      candidates: what a layer may be.
      speed: factor between the parameters and the logits.
      start: name of the stage to start from.

    Raises:
      ValueError: a value is out of range, or there are no candidates.

    Reference:
      N:M search (Akiva-Hochman et al. 2022, doi 10.1007/978-3-031-25082-8_9), whose
      code is not public; annealing and costs are ours.

    >>> from dst_jax import train
    >>> [stage.path for stage in choose_patterns(epochs=5, optimizer=train.sgd(0.1))]
    ['choose_patterns.search', 'choose_patterns.finetune']
    """
    checks.at_least("strength", strength, 0)
    checks.positive("speed", speed)
    if not candidates:
        raise ValueError("candidates must be at least one, got ()")
    search = Stage(
        name=NAME,
        phase="search",
        title="N:M patterns by layer",
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=(map_term(COST, strength, name=COST),)),
        schedules=_schedules,
        on_entry=_WithChoice(tuple(candidates), accelerator, speed),
        on_exit=_Chosen(),
        start=start,
    )
    finetune = Stage(
        name=NAME,
        phase="finetune",
        title=search.title,
        epochs=finetune_epochs,
        optimizer=optimizer,
    )
    return [search, finetune]


def _schedules(*, steps: int, steps_per_epoch: int) -> Mapping[str, Schedule]:
    del steps_per_epoch
    return {f"{CHOICE}/temperature": annealed(steps=steps)}


@dataclass(frozen=True)
class _WithChoice:
    """The network with logits for its layers, and the costs of their candidates."""

    candidates: tuple[Candidate, ...]
    accelerator: str
    speed: float

    def __call__(self, network: Network, *, context: "Context") -> Network:
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        names = layers_of(network, context.example, self.candidates)
        # Estimates read the split that is called `test`.
        dataset = replace(context.dataset, test=context.dataset.train)
        context = replace(context, dataset=dataset)
        cycles = [self._cycles(context, network, names, c) for c in self.candidates]
        dense = sum(self._cycles(context, network, names, Candidate()).values())
        costs = {name: [own[name] / dense for own in cycles] for name in names}
        return self._model(network).network(network, costs)

    def rehearse(self, network: Network, *, context: "Context") -> Network:
        """The shapes of the network with logits."""
        names = layers_of(network, context.example, self.candidates)
        costs = dict.fromkeys(names, [0.0] * len(self.candidates))
        model = self._model(network)
        return jax.eval_shape(lambda own: model.network(own, costs), network)

    def _model(self, network: Network) -> Choosing:
        assert isinstance(network.model, Linen)  # `layers_of` has refused others
        return Choosing(network.model, self.candidates, speed=self.speed)

    def _cycles(
        self,
        context: "Context",
        network: Network,
        names: Sequence[str],
        candidate: Candidate,
    ) -> dict[str, float]:
        """Cycles of each layer, with all of them under one candidate."""
        hard = with_candidate(network, dict.fromkeys(names, candidate))
        (found,) = estimate(context, hard, [self.accelerator])["machines"].values()
        return {name: found["layers"][name]["cycles"]["total"] for name in names}


@dataclass(frozen=True)
class _Chosen:
    """The student, with the hard choice of every layer."""

    def __call__(self, network: Network, *, context: "Context") -> Network:
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        found, choice = chosen(network)
        listed = ", ".join(f"{name} {c.title}" for name, c in choice.items())
        context.console.say(f"{NAME}: {listed}")
        return found

    def rehearse(self, network: Network, *, context: "Context") -> Network:
        """The student with a mask, without patterns."""
        model = network.model
        assert isinstance(model, Choosing)

        def dense(own: Network) -> Network:
            params = {k: x for k, x in own.params.items() if k != CHOICE}
            rest = {k: x for k, x in own.variables.items() if k != CHOICE}
            student = Network(model.student, {**rest, "params": params})
            names = layers_of(student, context.example, model.candidates)
            return with_candidate(student, dict.fromkeys(names, Candidate()))

        return jax.eval_shape(dense, network)
