"""The loss: that of the task, and any number of penalties.

Every number in it (strengths, shape parameters, layer weights, smoothing) is a leaf of
a pytree and so a traced value: changing one does not compile again.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax import penalties, pruning
from dst_jax.kernels import Kernel
from dst_jax.penalties.adaptive import Adaptive
from dst_jax.train import tasks
from dst_jax.train.terms import Term
from dst_jax.typing import Params, Scalar

__all__ = ["Objective"]

_METRICS = {
    "maps": "activation_penalty",
    "weights": "weight_penalty",
    "trained": "trained_penalty",
}


@dataclass(frozen=True)
class Objective:
    """What a stage minimises: the task's loss and its terms.

    Attributes:
      terms: penalties; their numbers are traced.
      task: whose loss it is; None for that of the run.

    >>> Objective(terms=(Term(penalties.l1, 1e-4), Term(penalties.l_half, 1e-5))).names
    ('activation_penalty', 'activation_penalty_2')
    """

    terms: tuple[Term, ...] = ()
    task: tasks.Task | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What logs call the value of each term."""
        found: Counter[str] = Counter()
        names = []
        for term in self.terms:
            name = term.name or _METRICS[term.over]
            found[name] += 1
            names.append(_numbered(name, found[name]))
        return tuple(names)

    def of(self, task: tasks.Task) -> "Objective":
        """The objective with a task, where it has none of its own."""
        return self if self.task is not None else replace(self, task=task)

    def start(self) -> tuple[Adaptive, ...] | None:
        """The adaptive strengths before the first step; None if all are constant."""
        found = tuple(
            penalties.adaptive.init(term.strength) for _, term in self._adaptive()
        )
        return found or None

    def adapted(self, states: tuple[Adaptive, ...] | None) -> "Objective":
        """The objective at the strengths that have been reached."""
        if states is None:
            return self
        terms = list(self.terms)
        for (i, term), state in zip(self._adaptive(), states, strict=True):
            terms[i] = replace(term, strength=state.levels)
        return replace(self, terms=tuple(terms))

    def adapt(
        self,
        states: tuple[Adaptive, ...] | None,
        measured: Mapping[str, Float[Array, ""]],
    ) -> tuple[Adaptive, ...] | None:
        """The adaptive strengths after a step that measured this."""
        if states is None:
            return None
        loss = measured[tasks.loss_name(self._task())]
        return tuple(
            penalties.adaptive.update(
                state,
                measured[_numbered("penalised_sparsity", n)],
                loss,
                target=term.target.sparsity,
                max_loss=term.target.max_loss,
                gain=term.target.gain,
            )
            for n, ((_, term), state) in enumerate(
                zip(self._adaptive(), states, strict=True), start=1
            )
        )

    def strengths(self, states: tuple[Adaptive, ...] | None) -> dict[str, Any]:
        """The adaptive strengths as logs call them."""
        found = enumerate(states or (), start=1)
        return {_numbered("strength", n): state.levels for n, state in found}

    def __call__(
        self,
        outputs: Any,
        labels: Array,
        *,
        maps: Mapping[str, Array],
        weights: Params,
        trained: Params = None,
        kernels: Mapping[str, Kernel] | None = None,
        epoch: Scalar = jnp.inf,
        step: Scalar = 0,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The loss (a scalar, averaged over the batch), its parts and what is measured.

        Args:
          outputs: the network's, for a batch.
          labels: the batch's.
          maps: activation maps by name; read by terms over them.
          weights: what the network computes with; read by terms over weights.
          trained: what the optimizer sees; read by terms over it.
          kernels: kernels of the weights, which terms over weights see; by name if
            None.
          epoch: how many epochs of the stage are done, for terms with a warm-up.
          step: how many steps are done, for terms with a schedule.

        Raises:
          ValueError: the objective has no task, or two terms have one name.
        """
        task = self._task()
        tasks.check_labels(task, labels)
        parts = {tasks.loss_name(task): task.loss(outputs, labels)}
        measured = {}
        for name, term in zip(self.names, self.terms, strict=True):
            if name in parts:
                raise ValueError(f"name of a term is taken: {name!r}; give another")
            if term.over == "maps":
                tree = maps
            elif term.over == "trained":
                tree = trained
            else:
                rules = term.prunable
                tree = pruning.masks.prunable(weights, rules, kernels=kernels)
            parts[name] = term(tree, epoch=epoch, step=step)
            if term.target is not None:
                which = _numbered("penalised_sparsity", len(measured) + 1)
                measured[which] = term.sparsity(tree)
        measured |= tasks.batch_metrics(task, outputs, labels)
        return jnp.asarray(sum(parts.values())), parts | measured

    def _task(self) -> tasks.Task:
        if self.task is None:
            raise ValueError("the objective has no task: give task=, or call of(task)")
        return self.task

    def _adaptive(self) -> list[tuple[int, Term]]:
        """The terms whose strength adapts itself, with their places."""
        return [(i, t) for i, t in enumerate(self.terms) if t.target is not None]


def _flatten(objective: Objective) -> tuple[Any, Any]:
    """A task that is no pytree is part of the program, not of its arguments."""
    task = objective.task
    if jax.tree_util.all_leaves([task]):
        return (objective.terms, None), task
    return (objective.terms, task), None


def _unflatten(static: Any, children: Any) -> Objective:
    terms, task = children
    return Objective(terms, static if static is not None else task)


jax.tree_util.register_pytree_node(Objective, _flatten, _unflatten)


def _numbered(name: str, n: int) -> str:
    return name if n == 1 else f"{name}_{n}"
