"""A chosen network, trained by the pipeline in a run of its own."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax

from dst_jax import activations, penalties, trees
from dst_jax.runs import Run
from dst_jax.train import Stage, Term, per_layer, stages
from dst_jax.train.stage_order import directory_of
from dst_jax.typing import Mask, Network, Params
from experiments.options import Config, InitOptions
from experiments.running import finished_run, training
from experiments.running.allocation_choice import Chosen
from experiments.running.allocation_record import measured
from experiments.running.allocation_tables import Opened
from experiments.running.config_record import options_of

if TYPE_CHECKING:
    from experiments.allocate import Options

__all__ = ["trained"]


def trained(
    run: Opened, options: "Options", found: Chosen, argv: list[str]
) -> dict[str, Any]:
    """Trains the network that was chosen, or reads what has been trained.

    The weight stage has the masks of the choice, the activation stage its thresholds
    and patterns. Without any, there is no activation stage, and the weight stage is
    twice as long; where no weight is pruned, the activation stage is the only one.

    Args:
      run: the opened run.
      options: options of the command.
      found: what was chosen.
      argv: the command line's arguments, for the record.

    Returns:
      What the trained network became: loss, cost, the metric on the hold-out, its
      directory, and the record of its last stage on the test set (`test`).

    Raises:
      ValueError: the directory holds another run, or the trained one has no data.
    """
    path = options.dir or f"{run.context.run.path}-{run.name}"
    plan = _stages(run, options, found)
    config = _config(run, options, found.network, path, plan)
    training.run("allocate", config, plan, argv)
    context = replace(run.context, run=Run(path))
    last = plan[-1].name
    network = finished_run.network_at_end(context, last)
    return {
        "dir": str(path),
        "test": Run(path).read_stage(last),
        **measured(run, network),
    }


def _stages(run: Opened, options: "Options", found: Chosen) -> list[Stage]:
    config, network = options_of(run.context.run), found.network
    optimizer = config.optim.optimizer(lr=options.lr)

    def prune(params: Params) -> Mask:
        del params  # chosen from those that the stage starts with
        return network.mask

    thresholds, rules = _positive(network), _rules(network)
    maps = bool(thresholds or rules)
    weights = not maps or _pruned(network.mask)
    epochs = options.epochs * (1 if maps and weights else 2)
    plan = [stages.initial(optimizer)]
    if weights:
        plan += stages.sparsify_weights(
            prune=prune,
            induce_epochs=0,
            finetune_epochs=epochs,
            optimizer=optimizer,
            penalty=None,
            start=plan[-1].name,
        )
    if maps:
        plan += stages.sparsify_activations(
            epochs=epochs,
            optimizer=optimizer,
            penalty=_term(run, options, found),
            start=plan[-1].name,
            thresholding=stages.Thresholding(thresholds) if thresholds else None,
            patterning=stages.Patterning(rules) if rules else None,
        )
    return plan


def _term(run: Opened, options: "Options", found: Chosen) -> Term:
    """The penalty on maps, weighed by map if that is asked for."""
    term = Term(penalties.transformed_l1, options.strength, {"a": 1.0})
    if options.strengths == "equal" or found.prediction is None:
        return term
    tables = found.prediction.tables
    strengths = per_layer.map_strengths(
        run.layers.maps, tables.reading, tables.costs, found.prediction.weights
    )
    layers = tuple(f"^{re.escape(name)}$" for name in strengths)
    return replace(term, layers=layers, layer_weights=tuple(strengths.values()))


def _pruned(mask: Mask) -> bool:
    return not all(leaf.all() for leaf in jax.tree.leaves(mask))


def _rules(network: Network) -> list[tuple[str, str]]:
    """The patterns of maps, as a stage takes them."""
    patterns = activations.patterns_of(network.variables)
    return [(f"^{re.escape(name)}$", text) for name, text in patterns.items()]


def _positive(network: Network) -> dict[str, Any]:
    """The thresholds of all maps, if one of them is above 0."""
    found = activations.thresholds_of(network.variables)
    return found if any((t > 0).any() for t in found.values()) else {}


def _config(
    run: Opened, options: "Options", network: Network, path: str, plan: list[Stage]
) -> Config:
    """Options with which the trained run is opened again, as near as they say it."""
    config = options_of(run.context.run)
    leaves = trees.named_leaves(network.mask).values()
    kept = sum(int(mask.sum()) for mask in leaves) / sum(m.size for m in leaves)
    data = config.data
    if options.data_dir is not None:
        data = replace(data, dir=options.data_dir)
    if options.data_name is not None:
        data = replace(data, name=options.data_name)
    return replace(
        config,
        data=data,
        prune=replace(
            config.prune,
            method=None,
            sparsity=1 - kept,
            threshold=None,
            induce_epochs=0,
            finetune_epochs=sum(s.epochs for s in plan if s.name == "sparsify_weights"),
            lr=options.lr,
        ),
        activation=replace(
            config.activation,
            penalty="transformed_l1",
            strength=options.strength,
            target=None,
            threshold=None,
            patterns=tuple(f"{regex}={text}" for regex, text in _rules(network)),
            epochs=plan[-1].epochs,
            lr=options.lr,
        ),
        init=InitOptions(path=str(directory_of(run.context.run, run.stage))),
        run=replace(
            config.run,
            dir=str(path),
            stages=tuple(dict.fromkeys(stage.name for stage in plan[1:])),
            control=False,
            accelerators=(),
            storage_bits=None,
        ),
    )
