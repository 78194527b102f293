"""The tables of what training multiplied, next to inference."""

from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.table import Table, named, number, percent
from dst_jax.report.training_ledger import PartCost, TrainingCost

__all__ = ["training", "training_per_layer"]

_PARTS = {
    "forward": "forward %",
    "input_gradient": "input gradients %",
    "weight_gradient": "weight gradients %",
}


def training(run: RunResults) -> Table:
    """Multiplications of the training of each stage, relative to dense training.

    >>> from pathlib import Path
    >>> stage = StageResults("static", "pruned", {}, 8, drop_valid=0.75)
    >>> cost = TrainingCost(10, 1, 4, {"fc": {"forward": PartCost(80, 20, 10)}})
    >>> training(RunResults(Path("run"), (stage,), training={"static": cost})).rows
    (('pruned', '80', '10', '12.50', '12.50', '-', '-', '25.00', '25.00', '1 of 10'),)
    """
    rows = [
        (stage, run.training[stage.name])
        for stage in run.stages
        if stage.name in run.training
    ]
    return Table(
        title="Multiplications of training",
        headings=(
            "stage",
            "dense training",
            "training",
            "training %",
            *_PARTS.values(),
            "by weights alone %",
            "inference %",
            "steps counted",
        ),
        rows=tuple(_row(stage, cost) for stage, cost in rows),
        note=(
            "Products with padding are left out. Shares are of the same products in "
            "dense training; of a part, of that part's. Training and inference leave "
            "out products with a zero factor; by weights alone leaves out those of "
            "pruned weights, as formulas of papers do. Masks are summed over every "
            "step, zeros of activations and gradients are those of the steps counted."
        ),
        named=named(stage.title for stage, _ in rows),
    )


def training_per_layer(run: RunResults, stage: StageResults) -> Table:
    """Multiplications of the training of one stage by layer.

    >>> from pathlib import Path
    >>> stage = StageResults("static", "pruned", {}, 8)
    >>> cost = TrainingCost(10, 1, 4, {"fc": {"forward": PartCost(80, 20, 10)}})
    >>> run = RunResults(Path("run"), (stage,), training={"static": cost})
    >>> training_per_layer(run, stage).rows[0]
    ('fc', '80', '12.50', '-', '-')
    """
    cost = run.training.get(stage.name, TrainingCost())
    return Table(
        title=f"Multiplications of training per layer: {stage.title}",
        headings=("layer", "dense training", *_PARTS.values()),
        rows=tuple(
            (
                name,
                number(sum(part.valid for part in parts.values())),
                *(_left(parts.get(part, PartCost())) for part in _PARTS),
            )
            for name, parts in cost.layers.items()
        ),
        note="Shares are of that part's products in dense training, without padding.",
    )


def _row(stage: StageResults, cost: TrainingCost) -> tuple[str, ...]:
    whole = cost.total()
    return (
        stage.title,
        number(whole.valid),
        number(whole.effectual),
        _left(whole),
        *(_left(cost.total(part)) for part in _PARTS),
        percent(whole.by_weight / whole.valid if whole.valid else None),
        percent(1 - stage.drop_valid),
        f"{cost.counted:,} of {cost.steps:,}",
    )


def _left(cost: PartCost) -> str:
    return percent(cost.effectual / cost.valid if cost.valid else None)
