"""Trains the cells of a comparison, each from its seed's baseline, and tests a few."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train import Context, Stage
from dst_jax.typing import Network
from experiments import fat_relu
from experiments.comparison.grid import Setting
from experiments.comparison.records import Record, Records
from experiments.finished import weights_of

__all__ = ["Plan", "evaluate_on_test", "of_seed", "train_cells"]


@dataclass(frozen=True)
class Plan:
    """What is trained for every seed.

    Attributes:
      baseline: dense training, where every other cell starts.
      control: the baseline trained as long as a cell, without a penalty.
      cells: a setting and its stage each. One with FATReLUs trains for 0 epochs from
        where the same setting without them ends.
      seeds: of initialisation and data order.
    """

    baseline: Stage
    control: Stage
    cells: Sequence[tuple[Setting, Stage]]
    seeds: Sequence[int]

    @property
    def stages(self) -> list[Stage]:
        """Of the baseline, the control and the cells."""
        return [self.baseline, self.control, *(stage for _, stage in self.cells)]


def train_cells(
    context: Context, plan: Plan, records: Records, *, init: Network | None = None
) -> None:
    """Trains every cell that has no record yet, and records what the hold-out says.

    Args:
      context: model, data, devices; every seed has a run directory of its own in it.
      plan: what is trained.
      records: what is finished.
      init: where every baseline starts; fresh weights of the seed if None.

    Raises:
      Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
      NonFiniteLoss: names the cell; the cells before it are on record.
    """
    settings = {stage.name: setting for setting, stage in plan.cells}
    stages = {stage.name: stage for stage in plan.stages}
    events = train.TensorBoard(str(context.run.path / "tensorboard"), enabled=False)
    with train.Interrupt() as interrupt:
        for seed in plan.seeds:
            missing = [s for s in plan.stages[1:] if records.get(s.name, seed) is None]
            if not missing:
                continue
            own = of_seed(context, seed)
            run_stage = partial(
                train.run_stage, own, interrupt=interrupt, events=events
            )
            start = own.fresh_weights() if init is None else init
            baseline, _ = run_stage(plan.baseline, start)
            if records.get(plan.baseline.name, seed) is None:
                records.add(_holdout(own, plan.baseline, baseline, None))
            for stage in missing:
                setting, start = settings.get(stage.name), baseline
                if setting is not None and setting.budget is not None:
                    trained = stages[replace(setting, budget=None).name]
                    start = _thresholded(
                        own, run_stage(trained, baseline)[0], setting.budget
                    )
                weights, _ = run_stage(stage, start)
                record = _holdout(own, stage, weights, baseline)
                records.add(record | _described(setting))
                own.console.say(_line(record))


def evaluate_on_test(
    context: Context, stages: Sequence[Stage], seeds: Sequence[int], tests: Records
) -> None:
    """Evaluates the ends of stages on the test set: once, ever, for each and seed.

    Args:
      context: as for `train_cells`.
      stages: trained by it; the first is the baseline that drift is measured from.
      seeds: as for `train_cells`.
      tests: where the results are kept.
    """
    for seed in seeds:
        missing = [s for s in stages if tests.get(s.name, seed) is None]
        if not missing:
            continue
        own = of_seed(context, seed)
        baseline = weights_of(own, stages[0])
        for stage in missing:
            weights = weights_of(own, stage)
            found = own.evaluate(weights, own.dataset.test, count=True)
            row = train.records.row(stage.name, found)
            drift = train.records.drift(baseline.params, weights.params)
            place = {"cell": row.pop("name"), "seed": seed}
            tests.add({**place, **row, "drift": drift})


def of_seed(context: Context, seed: int) -> Context:
    """The same context for another seed, with a run directory of its own."""
    run = Run(context.run.path / f"seed{seed}", writer=context.run.writer)
    return replace(context, seed=seed, run=run)


def _thresholded(context: Context, weights: Network, budget: float) -> Network:
    found = fat_relu.search(context, weights, budget=budget)
    return fat_relu.put_on(weights, found.thresholds)


def _holdout(
    context: Context, stage: Stage, weights: Network, baseline: Network | None
) -> Record:
    holdout = context.dataset.holdout
    if holdout is None:
        raise ValueError("a comparison chooses on a hold-out: --data.holdout is 0")
    found = context.evaluate(weights, holdout, count=False)
    moved = None
    if baseline is not None:
        moved = train.records.drift(baseline.params, weights.params)
    metrics = context.run.read_metrics()
    return {
        "cell": stage.name,
        "seed": context.seed,
        "examples": found.examples,
        "top1": found.top1,
        "loss": found.loss,
        "activation_sparsity": {
            "element": found.element_sparsity,
            "layer_mean": found.layer_mean_sparsity,
            "layers": {k: z / found.elements[k] for k, z in found.zeros.items()},
        },
        "drift": moved,
        "epochs": stage.epochs,
        **train.records.throughput(metrics, stage.name, batch_size=context.batch_size),
    }


def _described(setting: Setting | None) -> dict[str, Any]:
    if setting is None:
        return {}
    return {
        "penalty": setting.penalty,
        "strength": setting.strength,
        "options": dict(setting.options),
        "fatrelu": setting.budget,
    }


def _line(record: Record) -> str:
    return (
        f"seed {record['seed']}, {record['cell']}: hold-out top-1 {record['top1']:.2%},"
        f" activation sparsity {record['activation_sparsity']['element']:.2%}"
    )
