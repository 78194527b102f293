"""Continuous relaxation in structured pruning (Larson et al. 2023): widths are learned.

Channels have gates, trained along with the weights; what they leave is in the loss.
Rounds of search are followed by collapse: channels whose gates are low are removed, and
a branch whose inside is empty becomes its shortcut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import channels, checks
from dst_jax.channels import Groups, Keep
from dst_jax.models.smaller import groups_of, labelled, smaller_network
from dst_jax.parametrisations import GATES
from dst_jax.train.gate_training import GateTraining, gate_values
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import Optimizer
from dst_jax.train.stage import Stage
from dst_jax.typing import Network, is_traced

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["Collapse", "relaxation", "without"]

NAME = "relaxation"


def relaxation(
    *,
    gates: GateTraining,
    thresholds: Sequence[float],
    epochs: float,
    finetune_epochs: float,
    optimizer: Optimizer,
    start: str | None,
    init_epochs: float = 0,
    finetune_optimizer: Optimizer | None = None,
    first: int = 1,
) -> list[Stage]:
    """The progressive schedule: search, collapse, search, ..., collapse, fine-tune.

    Every phase starts its optimizer anew, hands on a network whose gates are multiplied
    into its weights, and can be entered alone from the checkpoint before it. Gates go
    on from search to search; the last phase has none.

    Args:
      gates: how gates are trained.
      thresholds: gates above which channels are kept, in [0, 1]: one before every
        search but the first, and one before the fine-tuning. 0 removes nothing.
      epochs: length of each search.
      finetune_epochs: length of the last phase, without gates.
      optimizer: optimizer of each phase.
      start: name of the stage to start from.
      init_epochs: epochs with gates, before the first search, that nothing pushes.
      finetune_optimizer: optimizer of the last phase, where it is another one.
      first: number of the search to start with; those before it, and `init_epochs`,
        are left out. Search 2 collapses the gates of a network that search 1 left.

    Raises:
      ValueError: a threshold is out of range, there is none, or `first` is no search.

    Reference:
      Larson et al. 2023 (arXiv 2308.14605), from the author's workflows.

    >>> from dst_jax import train
    >>> found = relaxation(
    ...     gates=GateTraining(), thresholds=(0.02, 0.1), epochs=5, finetune_epochs=8,
    ...     optimizer=lambda **_: train.chain(0.1), start="pretrain")
    >>> [(stage.phase, stage.epochs) for stage in found]
    [('search1', 5), ('search2', 5), ('finetune', 8)]
    """
    thresholds = tuple(thresholds)
    if not thresholds:
        raise ValueError("thresholds must have that of the last collapse, got ()")
    for threshold in thresholds:
        checks.share("thresholds", threshold)
    if not 1 <= first <= len(thresholds):
        raise ValueError(
            f"first must be a search, in 1..{len(thresholds)}, got {first}"
        )
    search = Stage(
        name=NAME,
        title="smaller",
        epochs=epochs,
        optimizer=optimizer,
        completed_by=partial(_gated, gates=gates, pushed=True),
    )
    phases = []
    if init_epochs and first == 1:
        freely = partial(_gated, gates=gates, pushed=False)
        phases.append(
            replace(search, phase="init", epochs=init_epochs, completed_by=freely)
        )
    for number in range(first, len(thresholds) + 1):
        phase = f"search{number}"
        collapse = Collapse(f"{NAME}.{phase}", thresholds[number - 2])
        entry = None if number == 1 else collapse
        phases.append(replace(search, phase=phase, on_entry=entry))
    last = Collapse(f"{NAME}.finetune", thresholds[-1], last=True)
    phases.append(
        replace(
            search,
            phase="finetune",
            epochs=finetune_epochs,
            optimizer=finetune_optimizer or optimizer,
            on_entry=last,
            completed_by=None,
        )
    )
    phases[0] = replace(phases[0], start=start)
    return phases


def _gated(
    stage: Stage,
    network: Network,
    *,
    context: "Context",
    gates: GateTraining,
    pushed: bool,
) -> Stage:
    """A search, for the network that it trains."""
    found, terms = gates.for_network(
        network,
        context.example,
        steps_per_epoch=context.steps_per_epoch,
        seed=context.stage_seed(stage.path),
    )
    objective = Objective(terms=terms) if pushed else stage.objective
    return replace(stage, parametrisation=found, objective=objective)


@dataclass(frozen=True)
class Collapse:
    """Removes the channels whose gates are low, on a stage's entry.

    Attributes:
      path: path of the stage.
      threshold: gates above it stay.
      last: whether the gates that stay are multiplied into the weights for good.

    >>> Collapse("relaxation.search2", 0.02).last
    False
    """

    path: str
    threshold: float
    last: bool = False

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The smaller network, with the gates of what is left of it.

        Raises:
          ValueError: the network has no gates.
        """
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        own, carried = self._apart(network)
        own = labelled(own, context.example)
        groups = groups_of(own, context.example)
        values = gate_values(carried)
        chosen = {name: values[name] > self.threshold for name in values}
        small, keep = without(own, groups, chosen, example=context.example)
        self._say(keep, context)
        if self.last:
            return small
        left = {
            name: {kind: x[np.flatnonzero(keep[name])] for kind, x in gates.items()}
            for name, gates in carried.items()
            if keep[name].any()
        }
        return small._replace(variables={**small.variables, GATES: left})

    def rehearse(self, network: Network, *, context: "Context") -> Network:
        """The shapes of the network if all channels stay."""
        own, _ = self._apart(network)
        return own if self.last else network

    def _apart(self, network: Network) -> tuple[Network, Mapping[str, Any]]:
        """The network without its collection of gates, and that."""
        variables = dict(network.variables)
        carried = variables.pop(GATES, None)
        if carried is None:
            raise ValueError(
                f"{self.path} collapses gates, and the network that it starts from has"
                " none: start from a checkpoint of a search, or with the first search"
            )
        return network._replace(variables=variables), carried

    def _say(self, keep: Mapping[str, np.ndarray], context: "Context") -> None:
        kept = sum(int(own.sum()) for own in keep.values())
        units = sum(own.size for own in keep.values())
        emptied = [name for name, own in keep.items() if not own.any()]
        gone = f"; branches removed: {', '.join(emptied)}" if emptied else ""
        context.console.say(
            f"{self.path}: {kept} of {units} units of {len(keep)} groups stay{gone}"
        )


def without(
    network: Network, groups: Groups, keep: Keep, *, example: Any
) -> tuple[Network, dict[str, np.ndarray]]:
    """A network without the units that are not kept, and what is kept of it.

    Where a group is emptied, the branch that it is the inside of goes as a whole: what
    else is computed there is constant, or read by nothing, and is removed too. The
    constant is folded into the parameters behind it, so that the outputs are those of
    the network with zeros in place of what `keep` does not keep.

    Args:
      network: a network.
      groups: its groups.
      keep: `{group: bool[size]}`; a group that it lacks stays whole.
      example: an input, or its shape and dtype.

    Raises:
      ValueError: as `channels.remove`.

    >>> def model(variables, x, *, train=False, rngs=None):
    ...     w = variables["params"]
    ...     return jax.nn.relu(x @ w["a"]) @ w["b"], {}, {}
    >>> params, x = {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 3))}, jnp.ones((1, 4))
    >>> network = Network(model, {"params": params})
    >>> groups = groups_of(network, x)
    >>> small, _ = without(network, groups, {"a": [True, False]}, example=x)
    >>> small.params["a"].shape
    (4, 1)
    """
    kept = {name: np.asarray(own, bool) for name, own in keep.items()}
    if all(own.any() for own in kept.values()):
        return smaller_network(network, groups, kept), kept

    def forward(variables: Any, x: Any) -> tuple[Any, Any]:
        return network.model(variables, x, train=False, rngs=None)[:2]

    masked = channels.mask(dict(network.variables), groups, kept)
    image = jnp.zeros(example.shape, example.dtype)
    folded = channels.fold(forward, groups, has_aux=True)(masked, image)
    both = {
        name: kept.get(name, np.ones(groups[name].size, bool)) & own
        for name, own in folded.keep.items()
    }
    rest = network._replace(variables=folded.variables)
    return smaller_network(rest, groups, both), both
