"""What every layer's options lose and cost in a finished run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dst_jax import data
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

__all__ = ["Opened", "Tables", "name_of", "opened", "tables", "unreachable"]


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
      measured: increases of the loss, measured from the network as it is.
      predicted: increases of the loss, from gradients.
      dropout: by layer, the increase with FLOP-matched dropout.
      costs: costs of the layers.
    """

    reading: per_layer.Reading
    measured: per_layer.OptionLosses
    predicted: per_layer.OptionLosses
    dropout: Mapping[str, float]
    costs: per_layer.OptionCosts


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
    context = options.reopen()
    stage = finished_run.stage_of(context.run, options.stage)
    split = context.dataset.train
    examples = per_layer.calibration(context, split, examples=options.examples)
    size = min(options.images, len(split))
    images = next(iter(data.eval_batches(split, batch_size=size))).image
    layers = per_layer.layer_options(
        context,
        finished_run.network_at_end(context, stage),
        examples,
        weights=options.weights,
        maps=options.activations,
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


def unreachable(options: "Options", least: float) -> ValueError:
    """The error of a budget below what the cheapest options cost.

    Args:
      options: options of the command.
      least: their share of what the network costs.

    >>> from experiments.allocate import Options
    >>> unreachable(Options("runs/a", budget=0.1), 0.25)
    ValueError('--budget must be at least 0.2500, the least that these options cost, ...
    """
    return ValueError(
        f"--budget must be at least {least:.4f}, the least that these options cost,"
        f" got {options.budget}"
    )


def tables(run: Opened, options: "Options") -> Tables:
    """The tables of a run's options.

    Args:
      run: the opened run.
      options: options of the command.

    Raises:
      ValueError: the cheapest options cost more than the budget.
    """
    own = run.context, run.layers
    say = run.context.console.say
    say(
        f"{run.stage}: {len(run.layers.layers)} layers,"
        f" {len(run.layers.maps.thresholds)} maps"
    )
    for text in _unavailable(run.layers):
        say(f"the option {text} is of no layer and no map")
    reading = per_layer.reading(*own)
    costs = per_layer.option_costs(
        *own, reading, run.images, run.machine, measure=options.cost
    )
    if options.budget_accuracy is None:
        _refuse_unreachable(run, options, reading, costs)
    measured = per_layer.option_losses(*own, run.examples)
    predicted = per_layer.predicted_losses(*own, run.examples)
    dropout = per_layer.dropout_losses(*own, run.examples, costs.multiplications)
    return Tables(reading, measured, predicted, dropout, costs)


def _unavailable(layers: LayerOptions) -> list[str]:
    """Options of weights that no layer has, and patterns that no map has."""
    found = [
        option.text
        for i, option in enumerate(layers.weights)
        if all(masks[i] is None for masks in layers.masks.values())
    ]
    patterns = {p for divided in layers.maps.divided.values() for p in divided}
    return found + [p for p in layers.maps.patterns if p not in patterns]


def _refuse_unreachable(
    run: Opened,
    options: "Options",
    reading: per_layer.Reading,
    costs: per_layer.OptionCosts,
) -> None:
    """Refuses a budget below the cheapest choice before any loss is measured."""
    none = per_layer.OptionLosses(
        {name: np.zeros(len(own)) for name, own in run.layers.masks.items()},
        {
            name: np.zeros(len(run.layers.maps.texts))
            for name in run.layers.maps.thresholds
        },
    )
    choices = per_layer.layer_choices(reading, none, costs)
    weights, levels = choices.options_of(choices.cost.argmin(axis=1))
    share = run.cost_of(run.layers.network_at(weights, levels)) / run.cost_of(
        run.network
    )
    if share > options.budget:
        raise unreachable(options, share)
