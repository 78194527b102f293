"""The network of a budget: chosen along a front, from losses measured in rounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dst_jax import allocation
from dst_jax.allocation import Front
from dst_jax.train import per_layer
from dst_jax.typing import Network
from experiments.running.allocation_tables import (
    Opened,
    Tables,
    tables,
    unreachable,
)

if TYPE_CHECKING:
    from experiments.allocate import Options

__all__ = ["Chosen", "Prediction", "chosen"]


@dataclass(frozen=True)
class Prediction:
    """What a choice was predicted to be.

    Attributes:
      weights: number of every layer's option.
      levels: number of every map's share.
      start: the loss of the choice before, from which increases were measured.
      loss: its loss, `start` and the increases.
      cost: its cost.
      front: the front that it is a point of; its losses are increases.
      tables: tables of the options.
    """

    weights: Mapping[str, int]
    levels: Mapping[str, int]
    start: float
    loss: float
    cost: float
    front: Front
    tables: Tables


@dataclass(frozen=True)
class Chosen:
    """A network that meets the budget, and what it was chosen from.

    Attributes:
      network: the network, not yet trained.
      prediction: its prediction; None by a rule without options.
      rounds: by round, the predicted and the measured loss and cost of its choice.
    """

    network: Network
    prediction: Prediction | None = None
    rounds: tuple[dict[str, float], ...] = field(default=())


def chosen(run: Opened, options: "Options") -> Chosen:
    """The network of the command's rule that meets its budget.

    Of the choices of all rounds that meet it, that with the least measured loss; with a
    budget of accuracy, that with the least cost.

    Args:
      run: the opened run.
      options: options of the command.

    Raises:
      ValueError: no network by this rule meets the budget.
    """
    budget = options.budget * run.cost_of(run.network)
    if options.rule != "allocation":
        network = per_layer.rival(
            run.context,
            run.layers,
            run.images,
            run.machine,
            rule=options.rule,
            budget=budget,
            measure=options.cost,
        )
        return Chosen(network)
    rounds: list[dict[str, float]] = []
    met: list[tuple[float, Network, Prediction]] = []
    for found in _rounds(run, options):
        network = run.layers.network_at(found.weights, found.levels)
        cost, loss = run.cost_of(network), run.loss_of(network)
        rounds.append(
            {
                "predicted_loss": found.loss,
                "loss": loss,
                "predicted_cost": found.cost,
                "cost": cost,
            }
        )
        if options.budget_accuracy is None and cost <= budget:
            met.append((loss, network, found))
        elif options.budget_accuracy is not None and _keeps(run, options, network):
            met.append((cost, network, found))
    if not met:  # under a budget of cost, the last round has met it
        raise ValueError(
            f"--budget-accuracy {options.budget_accuracy}: no point of the front keeps"
            " the hold-out accuracy; give other options, or a larger budget"
        )
    _, network, found = min(met, key=lambda one: one[0])
    return Chosen(network, found, tuple(rounds))


def _keeps(run: Opened, options: "Options", network: Network) -> bool:
    """Whether a network keeps the accuracy on the hold-out within the budget."""
    least = run.accuracy(run.network) - (options.budget_accuracy or 0.0)
    return run.accuracy(network) >= least


def _rounds(run: Opened, options: "Options") -> Iterator[Prediction]:
    """The choice of every round, with losses measured from the choice before."""
    found = tables(run, options)
    losses, start = found.measured, run.loss_of(run.network)
    falling = max(options.rounds - 1, 1)
    for number in range(1, options.rounds + 1):
        share = options.budget ** min(number / falling, 1.0)
        choices = per_layer.layer_choices(found.reading, losses, found.costs)
        front = _front(choices, options)
        row = _row(run, options, choices, front, share)
        weights, levels = choices.options_of(front.choice[row])
        rise, cost = choices.predicted(front.choice[row])
        yield Prediction(weights, levels, start, start + rise, cost, front, found)
        if number < options.rounds:
            own = run.context, run.layers, run.examples
            losses = per_layer.option_losses(*own, weights=weights, levels=levels)
            start = run.loss_of(run.layers.network_at(weights, levels))


def _front(choices: per_layer.LayerChoices, options: "Options") -> Front:
    """The front of the solver, from the cheapest choice to that which loses least."""
    least = choices.cost.min(axis=1).sum()
    exists = np.isfinite(choices.cost)
    most = np.where(exists, choices.cost, 0).max(axis=1).sum()
    # Costs differ by factors: as many points below a tenth of them as above.
    budgets = least + (most - least) * np.linspace(0, 1, options.points) ** 2
    found = allocation.front(choices.loss, choices.cost, budgets=budgets)
    if options.solver == "lagrangian":
        return found
    solve = {
        "exact": partial(allocation.exact, resolution=10_000),
        "greedy": allocation.greedy,
    }[options.solver]
    # Rounded up, the cheapest choice needs a little more than it costs.
    rows = [
        solve(choices.loss, choices.cost, budget=b)
        for b in np.maximum(budgets, least * (1 + len(choices.loss) / 10_000))
    ]
    choice = np.stack(rows)
    items = np.arange(len(choices.loss))
    loss, cost = choices.loss[items, choice].sum(1), choices.cost[items, choice].sum(1)
    gap = np.maximum(loss - (found.loss - found.gap), 0.0)
    return Front(choice, loss, cost, gap, found.price)


def _row(
    run: Opened,
    options: "Options",
    choices: per_layer.LayerChoices,
    front: Front,
    share: float,
) -> int:
    """The point of the front that is taken, by measured costs or accuracies.

    Under a budget of cost it is the last one whose network, measured, meets it; under
    one of accuracy the first.
    """

    def network_at(row: int) -> Network:
        return run.layers.network_at(*choices.options_of(front.choice[row]))

    rows = range(len(front.choice))
    if options.budget_accuracy is not None:
        kept = (row for row in rows if _keeps(run, options, network_at(row)))
        return next(kept, rows[-1])
    whole = run.cost_of(run.network)
    for row in reversed(rows):
        if run.cost_of(network_at(row)) <= share * whole:
            return row
    raise unreachable(options, run.cost_of(network_at(0)) / whole)
