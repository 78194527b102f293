"""A finished run pruned after training, in minutes: the cheapest within a budget.

For every sparsity of the weights, densities of the layers are searched and the dense
network is distilled into the pruned one on a few images without labels (UniPTS);
thresholds of activations take what is left of the budget. Of all these networks the one
is chosen that costs least and loses no more than the budget. Thresholds are searched on
one half of the hold-out and the choice is made on the other; the test set is read at
the end of each stage, for the table.

COMMAND
  python -m experiments.post_training RUN_DIR --accelerator scnn --budget-accuracy 0.5

Writes a run of its own, RUN_DIR/post_training unless --out says where, which can be
evaluated, exported and estimated as any other; its last stage is the choice. The same
command continues it.

HARDWARE, TIME, RESULT
  LeNet5 on MNIST   an x86 core, 96 s of processor for seven networks; 90 % of weights
                    pruned: 98.59 of 98.90 %, 957 of 1,828 cycles; docs/post_training.md
"""

import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from experiments.options.annotations import (
    AT_LEAST_1,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    at_most,
    check_ranges,
)
from experiments.options.texts import about
from experiments.running.command_line import parse, status
from experiments.running.finished_run_options import FinishedRunOptions, StageName

if TYPE_CHECKING:
    from dst_jax.pruning import KeptWeights
    from dst_jax.runs import Run
    from dst_jax.train import Context
    from dst_jax.typing import Network

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options(FinishedRunOptions):
    """Which run, how far to go, and how long to look for it."""

    stage: StageName = None
    out: str | None = None
    """Directory of the run that is written; RUN_DIR/post_training if not given."""
    accelerator: str | None = None
    """Accelerator whose cycles the choice counts: a preset, MODULE:ATTRIBUTE or a YAML
    file; the multiplications of nonzeros if not given."""
    budget_accuracy: Annotated[float, NOT_NEGATIVE] = 0.5
    """Points of hold-out accuracy that the choice may lose."""
    sparsities: Annotated[
        tuple[float, ...], Range("in (0, 1)", lambda x: 0 < x < 1)
    ] = (0.5, 0.7, 0.9)
    """Shares of the weights that are pruned, one network for each."""
    images: Annotated[int, AT_LEAST_1] = 1000
    """Images of the training set that are used, without labels."""
    batch_size: Annotated[int, AT_LEAST_1] = 64
    """Images of a step."""
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 30
    """Epochs of distillation for each sparsity; the authors take 100."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate."""
    temperature: Annotated[float, POSITIVE] = 4.0
    """Temperature of the dense network's classes, which the pruned one learns."""
    population: Annotated[int, Range("at least 2", lambda n: n >= 2)] = 8
    """Size of a population of the search; the authors take 25."""
    generations: Annotated[int, AT_LEAST_1] = 6
    """Populations of the search; the authors take 25."""
    thresholds: bool = True
    """Whether thresholds of activations are searched, too."""
    threshold_images: Annotated[int, AT_LEAST_1] = 1000
    """Largest number of hold-out images that thresholds are searched on."""
    bisections: Annotated[int, AT_LEAST_1, at_most(30)] = 3
    """Evaluations of these images per layer."""
    seed: int = 0
    """Seed of the search."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none", "--sparsities", "1.5"])
    2
    """
    options = parse(Options, argv, name="post_training", doc=__doc__)
    return status(partial(_check, options), lambda _: _run(options))


def _check(options: Options) -> None:
    check_ranges(options)
    if options.accelerator is not None:
        from dst_jax.cost import accelerators

        with about("--accelerator"):
            accelerators.create(options.accelerator)


def _run(options: Options) -> None:
    from dst_jax import report, train
    from dst_jax.runs import read_post_training, write_post_training
    from experiments.running import finished_run, post_trained

    whole = options.reopen()
    stage = finished_run.stage_of(whole.run, options.stage)
    network = finished_run.network_at_end(whole, stage)
    context = _context(options, whole)
    with context.run.lock():
        counts = _searched(options, context, network)
        plan = post_trained.plan(
            counts,
            context=context,
            epochs=options.epochs,
            lr=options.lr,
            temperature=options.temperature,
            threshold=_threshold(options, context, network),
            budget=options.budget_accuracy,
            accelerator=options.accelerator,
        )
        config = (whole.run.read_config() or {}).get("config", {})
        if context.run.read_summary() is None:
            train.train(context, plan, config=config, init=network)
        choose = plan[-1].on_entry
        assert isinstance(choose, post_trained.Choose)
        record = read_post_training(context.run) or {}
        if "choice" not in record:
            candidates = choose.candidates(context)
            choice = post_trained.described(choose, candidates)
            write_post_training(context.run, record | {"choice": choice})
        if options.accelerator is not None:
            _estimate(context, options.accelerator)
    report.show([str(context.run.path)])
    print(f"report: {report.write(context.run.path)}")


def _context(options: Options, whole: "Context") -> "Context":
    """The run that is written, with a few images to train on."""
    from dst_jax.runs import Run
    from experiments.running.post_trained import first_of

    out = (
        Path(options.run_dir) / "post_training" if options.out is None else options.out
    )
    few = first_of(whole.dataset.train, options.images)
    return replace(
        whole,
        run=Run(out),
        dataset=replace(whole.dataset, train=few),
        batch_size=min(options.batch_size, len(few)),
        eval_every=max(1, round(options.epochs)),
        save_every=0,
        seed=options.seed,
        compiled={},
    )


def _searched(
    options: Options, context: "Context", network: "Network"
) -> "dict[float, KeptWeights]":
    """The densities for every sparsity: searched, or as they were found before."""
    from dst_jax.pruning import KeptWeights
    from dst_jax.runs import read_post_training, write_post_training
    from dst_jax.train import stages

    given = _record(options)
    record = read_post_training(context.run) or {"options": given, "searches": {}}
    _refuse_another(context.run, record["options"], given)
    for sparsity in options.sparsities:
        if str(sparsity) in record["searches"]:
            continue
        found = stages.search_densities(
            context,
            network,
            sparsity=sparsity,
            population=options.population,
            generations=options.generations,
            parents=max(2, options.population * 2 // 5),
            seed=options.seed,
        )
        searched = found.searched
        record["searches"][str(sparsity)] = {
            "kept": dict(found.counts.kept),
            "divergence": -searched.fitness,
            "divergence_of_equal_numbers": -searched.uniform,
            "history": [-x for x in searched.history],
        }
        write_post_training(context.run, record)
        context.console.say(
            f"{sparsity:.0%} of weights: divergence {-searched.fitness:.4f} after the"
            f" search, {-searched.uniform:.4f} before"
        )
    searches = record["searches"]
    return {s: KeptWeights(searches[str(s)]["kept"]) for s in options.sparsities}


def _record(options: Options) -> dict[str, Any]:
    """The options that make a run what it is."""
    elsewhere = ("run_dir", "out", "data_dir", "data_name")
    found = {k: v for k, v in asdict(options).items() if k not in elsewhere}
    return found | {"sparsities": list(options.sparsities)}


def _refuse_another(run: "Run", earlier: dict[str, Any], now: dict[str, Any]) -> None:
    odd = sorted(name for name in now if earlier.get(name) != now[name])
    if odd:
        said = ", ".join(f"--{n} was {earlier.get(n)}, now {now[n]}" for n in odd)
        raise ValueError(f"{run.path} holds another run: {said}; give another --out")


def _threshold(options: Options, context: "Context", network: "Network") -> Any:
    from experiments.running import post_trained

    if not options.thresholds:
        return None
    few = post_trained.on_few_images(context, options.threshold_images)
    return post_trained.Threshold(
        budget=options.budget_accuracy,
        dense=post_trained.measured(few, network),
        images=options.threshold_images,
        bisections=options.bisections,
    )


def _estimate(context: "Context", accelerator: str) -> None:
    from experiments.accelerators import estimate_stages

    estimate_stages(context, [accelerator])


if __name__ == "__main__":
    sys.exit(main())
