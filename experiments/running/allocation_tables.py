"""What every layer's options lose and cost in a finished run, and a choice of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dst_jax import allocation, checks, data
from dst_jax.allocation import Front
from dst_jax.cost.accelerators import Accelerator
from dst_jax.runs import write_allocation
from dst_jax.train import Context, per_layer
from dst_jax.train.per_layer import Calibration, LayerOptions
from dst_jax.typing import Network
from experiments.options.texts import file_name
from experiments.running import fat_relu, finished_run
from experiments.running.quality import quality_of

if TYPE_CHECKING:
    from experiments.allocate import Options

__all__ = ["Chosen", "Opened", "Tables", "chosen", "name_of", "opened"]


@dataclass(frozen=True)
class Opened:
    """A finished run, opened to choose options of its layers.

    Attributes:
      context: context of the run.
      name: name of the record.
      stage: the stage whose network it is.
      examples: calibration examples.
      images: images that costs are measured on.
      layers: options of the network's layers.
      cost_of: cost of a network for one example.
      machine: the accelerator.
    """

    context: Context
    name: str
    stage: str
    examples: Calibration
    images: np.ndarray
    layers: LayerOptions
    cost_of: Callable[[Network], float]
    machine: Accelerator

    @property
    def network(self) -> Network:
        """The network as it is."""
        return self.layers.network_at({}, {})

    def loss_of(self, network: Network) -> float:
        """The mean loss of a network on the calibration examples."""
        return per_layer.mean_loss(self.context, network, self.examples)

    def accuracy(self, network: Network) -> float:
        """The metric that decides, on the hold-out, in points; larger is better."""
        quality = quality_of(self.context.task)
        split = fat_relu.holdout(self.context)
        found = self.context.evaluate(network, split, count=False)
        return quality.metric.scale * quality.gain(quality(found.metrics))

    def write(self, record: Mapping[str, Any]) -> None:
        """Writes the record into the run."""
        write_allocation(self.context.run, self.name, record)


@dataclass(frozen=True)
class Tables:
    """What the options lose and cost.

    Attributes:
      reading: what every layer computes and reads.
      measured: increases of the loss, measured.
      predicted: increases of the loss, from gradients.
      dropout: by layer, the increase with FLOP-matched dropout.
      costs: costs of the layers.
      choices: the options of the layers that read common maps, as measured.
      front: its choices along the budgets.
    """

    reading: per_layer.Reading
    measured: per_layer.OptionLosses
    predicted: per_layer.OptionLosses
    dropout: Mapping[str, float]
    costs: per_layer.OptionCosts
    choices: per_layer.LayerChoices
    front: Front


@dataclass(frozen=True)
class Chosen:
    """A network that meets the budget, and what it was chosen from.

    Attributes:
      network: the network, not yet trained.
      weights: number of every layer's option; empty for a rule without options.
      levels: number of every map's share; empty for a rule without options.
      loss: predicted increase of the loss; None for a rule without options.
      cost: predicted cost; None for a rule without options.
      tables: tables of the options; None for a rule without options.
    """

    network: Network
    weights: Mapping[str, int]
    levels: Mapping[str, int]
    loss: float | None = None
    cost: float | None = None
    tables: Tables | None = None


def name_of(options: "Options", stage: str) -> str:
    """The name of a record: stage, accelerator, cost, budget and rule.

    Args:
      options: options of the command.
      stage: the stage whose network it is.

    >>> from experiments.allocate import Options
    >>> name_of(Options("runs/a", budget=0.4, rule="erk"), "pretrain")
    'pretrain-scnn-cycles-0.4-erk'
    """
    points = options.budget_accuracy
    budget = f"{options.budget:g}" if points is None else f"accuracy-{points:g}"
    parts = [stage, options.accelerator, options.cost, budget]
    parts += [] if options.rule == "allocation" else [options.rule]
    return file_name("-".join(parts))


def opened(options: "Options", machine: Accelerator) -> Opened:
    """The finished run of a command, its calibration examples and its layers' options.

    Args:
      options: options of the command.
      machine: the accelerator.

    Raises:
      ValueError: it is no finished run, or an option does not fit it.
    """
    context = finished_run.reopen(
        options.run_dir, data_dir=options.data_dir, data_name=options.data_name
    )
    names = finished_run.stage_names(context.run)
    stage = names[-1] if options.stage is None else options.stage
    checks.one_of("--stage", stage, names)
    split = context.dataset.train
    examples = per_layer.calibration(context, split, examples=options.examples)
    size = min(options.images, len(split))
    images = next(iter(data.eval_batches(split, batch_size=size))).image
    layers = per_layer.layer_options(
        context,
        finished_run.network_at_end(context, stage),
        examples,
        weights=options.weights,
        shares=options.activations,
    )
    cost_of = partial(
        per_layer.total_cost,
        context,
        images=images,
        accelerator=machine,
        measure=options.cost,
    )
    return Opened(
        context=context,
        name=name_of(options, stage),
        stage=stage,
        examples=examples,
        images=images,
        layers=layers,
        cost_of=cost_of,
        machine=machine,
    )


def chosen(run: Opened, options: "Options") -> Chosen:
    """The network of the command's rule that meets its budget.

    Args:
      run: the opened run.
      options: options of the command.

    Raises:
      ValueError: no network by this rule meets the budget.
    """
    if options.rule != "allocation":
        network = per_layer.rival(
            run.context,
            run.layers,
            run.images,
            run.machine,
            rule=options.rule,
            budget=options.budget * run.cost_of(run.network),
            measure=options.cost,
        )
        return Chosen(network, {}, {})
    tables = _tables(run, options)
    choices, front = tables.choices, tables.front

    def network_at(row: int) -> Network:
        return run.layers.network_at(*choices.options_of(front.choice[row]))

    row = _row(run, options, network_at)
    loss, cost = choices.predicted(front.choice[row])
    weights, levels = choices.options_of(front.choice[row])
    return Chosen(network_at(row), weights, levels, loss, cost, tables)


def _tables(run: Opened, options: "Options") -> Tables:
    own = run.context, run.layers
    say = run.context.console.say
    say(
        f"{run.stage}: {len(run.layers.layers)} layers,"
        f" {len(run.layers.thresholds)} maps"
    )
    reading = per_layer.reading(*own)
    measured = per_layer.option_losses(*own, run.examples)
    predicted = per_layer.predicted_losses(*own, run.examples)
    costs = per_layer.option_costs(
        *own, reading, run.images, run.machine, measure=options.cost
    )
    dropout = per_layer.dropout_losses(*own, run.examples, costs.multiplications)
    choices = per_layer.layer_choices(reading, measured, costs)
    front = _front(choices, options)
    return Tables(reading, measured, predicted, dropout, costs, choices, front)


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


def _row(run: Opened, options: "Options", network_at: Callable[[int], Network]) -> int:
    """The point of the front that is taken, by measured costs or accuracies.

    Under a budget of cost it is the last one whose network, measured, meets it; under
    one of accuracy the first.
    """
    rows = range(options.points)
    if options.budget_accuracy is not None:
        least = run.accuracy(run.network) - options.budget_accuracy
        for row in rows:
            if run.accuracy(network_at(row)) >= least:
                return row
        return rows[-1]
    budget = options.budget * run.cost_of(run.network)
    for row in reversed(rows):
        if run.cost_of(network_at(row)) <= budget:
            return row
    least = run.cost_of(network_at(0)) / run.cost_of(run.network)
    raise ValueError(
        f"--budget must be at least {least:.3f}, the least that these options cost, got"
        f" {options.budget}"
    )
