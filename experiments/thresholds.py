"""A finished run with its ReLUs made FATReLUs: more zeros within a budget of accuracy.

Layer by layer the largest threshold is searched at which the hold-out has lost no more
than the budget (Kurtz et al. 2020); nothing is trained. The test set is read at the
end, without and with the thresholds.

COMMAND
  python -m experiments.thresholds RUN_DIR --budget 0.1

Writes RUN_DIR/thresholds/STAGE.json. `activations.with_thresholds(variables, found)`
puts the thresholds into a network.
"""

import logging
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from dst_jax import activations, data, train
from dst_jax.train import Setup, Stage, Weights
from experiments import finished

__all__ = ["Options", "main", "search"]


@dataclass(frozen=True)
class Options:
    """Which run, and how far to go."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """A finished run."""
    stage: str | None = None
    """Whose network; the last stage's if not given."""
    budget: float = 0.1
    """Points of hold-out accuracy that may be lost, over all layers."""
    kind: Literal["hard", "soft"] = "hard"
    """FATReLU, or the ReLU shifted by the threshold."""
    bisections: int = 6
    """Evaluations of the hold-out per layer."""
    percentile: float = 99.0
    """Of a layer's entries on one hold-out batch: the largest threshold tried."""
    data_dir: str | None = None
    """Where prepared data sets lie, if not where the run had them."""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = tyro.cli(
        Options,
        args=argv,
        prog="python -m experiments.thresholds",
        description=__doc__,
    )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        _check(options)
        setup, stages = finished.reopen(options.run_dir, data_dir=options.data_dir)
        stage = _stage(options, stages)
        weights = finished.weights_of(setup, stage)
        found = search(setup, weights, options)
        record = _record(setup, weights, found, options)
        setup.run.write_thresholds(stage.name, record)
        _show(stage.name, record)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def search(
    setup: Setup, weights: Weights, options: Options
) -> activations.FoundThresholds:
    """The thresholds within the budget, chosen on the hold-out alone.

    The search is over shares of each layer's largest threshold, so that layers of
    different scale take equally many evaluations.

    Raises:
      ValueError: the run has no hold-out.
    """
    holdout = setup.dataset.holdout
    if holdout is None:
        raise ValueError("thresholds are chosen on a hold-out: the run has none")
    tops = _largest(setup, weights, holdout, options.percentile / 100)

    def accuracy(shares: Mapping[str, float]) -> float:
        thresholds = {name: share * tops[name] for name, share in shares.items()}
        changed = _thresholded(weights, thresholds, options.kind)
        return 100 * setup.evaluate(changed, holdout, count=False).top1

    found = activations.search_thresholds(
        accuracy,
        list(tops),
        budget=options.budget,
        precision=2.0**-options.bisections,
    )
    scaled = {name: share * tops[name] for name, share in found.thresholds.items()}
    return found._replace(thresholds=scaled)


def _check(options: Options) -> None:
    if not options.budget >= 0:
        raise ValueError(f"--budget must be >= 0, got {options.budget}")
    if options.bisections < 1:
        raise ValueError(f"--bisections must be at least 1, got {options.bisections}")
    if not 0 < options.percentile < 100:
        raise ValueError(f"--percentile must be in (0, 100), got {options.percentile}")


def _stage(options: Options, stages: Sequence[Stage]) -> Stage:
    last = {stage.name: stage for stage in stages}
    name = list(last)[-1] if options.stage is None else options.stage
    if name not in last:
        raise ValueError(f"--stage must be one of {tuple(last)}, got {name!r}")
    return last[name]


def _largest(
    setup: Setup, weights: Weights, split: data.Split, share: float
) -> OrderedDict[str, float]:
    """For every map that has an entry above 0 in this batch, that quantile of it."""
    images = [
        split.example(i)[0] for i in range(min(setup.eval_batch_size, len(split)))
    ]
    variables = {"params": weights.params, **weights.model_state}
    x = setup.preprocess(jnp.stack(images))
    _, maps, _ = activations.apply_with_activations(setup.model, variables, x)
    tops = activations.percentile_thresholds(maps, share)
    return OrderedDict((name, float(t)) for name, t in tops.items() if t > 0)


def _thresholded(
    weights: Weights, thresholds: Mapping[str, float], kind: str
) -> Weights:
    state = activations.with_thresholds(weights.model_state, thresholds, kind=kind)
    return weights._replace(model_state=state)


def _record(
    setup: Setup,
    weights: Weights,
    found: activations.FoundThresholds,
    options: Options,
) -> dict[str, Any]:
    changed = _thresholded(weights, found.thresholds, options.kind)
    test = setup.dataset.test
    rows = {
        name: train.records.row(name, setup.evaluate(network, test, count=True))
        for name, network in (("without", weights), ("with", changed))
    }
    return {
        "kind": options.kind,
        "budget": options.budget,
        "holdout": {"without": found.start, "with": found.metric},
        "thresholds": found.thresholds,
        "test": rows,
    }


def _show(stage: str, record: Mapping[str, Any]) -> None:
    table = Table(title=f"{stage}, test set", title_justify="left")
    for heading in ("thresholds", "top-1 %", "activation sparsity %", "FLOPs drop %"):
        table.add_column(
            heading, justify="left" if heading == "thresholds" else "right"
        )
    for name, row in record["test"].items():
        sparsity = row["activation_sparsity"]["element"]
        numbers = (row["top1"], sparsity, row["flops_drop"]["dense"])
        table.add_row(name, *(f"{100 * number:.2f}" for number in numbers))
    Console().print(table)
    for name, t in record["thresholds"].items():
        print(f"  {name}: {t:.4g}")


if __name__ == "__main__":
    sys.exit(main())
