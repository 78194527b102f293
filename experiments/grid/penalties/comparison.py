"""A grid of penalties: its cells, what is measured of them, and what is reported."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train import Context, Objective, Stage, stages
from dst_jax.typing import Network
from experiments.grid.cells import Ends
from experiments.grid.engine import Comparison
from experiments.grid.penalties import report
from experiments.grid.penalties.choice import Choice, Criterion, choose
from experiments.grid.penalties.options import PenaltyGrid
from experiments.grid.penalties.settings import Setting, parse
from experiments.grid.records import Record
from experiments.running import fat_relu
from experiments.running.quality import quality_of

__all__ = ["PenaltyComparison"]


class PenaltyComparison(Comparison):
    """Penalties at strengths and shape parameters, each from its seed's baseline.

    A cell with FATReLUs trains for 0 epochs from where the same setting without them
    ends.

    Args:
      options: the options of the comparison.

    Raises:
      ValueError: a text of another form, an unknown penalty or shape parameter.
    """

    def __init__(self, options: PenaltyGrid):
        self.options = options
        self.settings = {s.name: s for s in parse(options.grid, options.fatrelu)}
        config = options.base()
        quality = quality_of(options.task.create(config))
        least = None if options.sparsity is None else options.sparsity / 100
        margin = options.margin / quality.metric.scale
        self.criterion = Criterion(quality, margin, least)
        self.cells = self._cells()

    def measure(
        self, context: Context, cell: Stage, network: Network, ends: Ends
    ) -> dict[str, Any]:
        """Metrics, sparsity and drift from the baseline, and the setting."""
        if context.dataset.holdout is None:
            raise ValueError("a comparison chooses on a hold-out: --data.holdout is 0")
        found = context.evaluate(network, context.dataset.holdout, count=False)
        drift = None
        if cell.start is not None:
            baseline = ends(self.cells[0].name)
            drift = train.records.drift(baseline.params, network.params)
        return {
            "examples": found.examples,
            **found.metrics,
            "activation_sparsity": {
                "element": found.element_sparsity,
                "layer_mean": found.layer_mean_sparsity,
                "layers": {k: z / found.elements[k] for k, z in found.zeros.items()},
            },
            "drift": drift,
            **self._described(cell.name),
        }

    def line(self, record: Record) -> str:
        """The hold-out's quality and sparsity.

        >>> comparison = PenaltyComparison(PenaltyGrid(grid=("l1 strength=0.5",)))
        >>> zeros = {"element": 0.6}
        >>> comparison.line({"top1": 0.9, "activation_sparsity": zeros})
        'hold-out top-1 90.00%, activation sparsity 60.00%'
        """
        zeros = record["activation_sparsity"]["element"]
        said = self.criterion.quality.say(record)
        return f"hold-out {said}, activation sparsity {zeros:.2%}"

    def tested(self, records: Sequence[Record]) -> list[Stage]:
        """The baseline, the control and the choice of each penalty.

        >>> grid = PenaltyGrid(grid=("l1 strength=0.5",), test=False)
        >>> PenaltyComparison(grid).tested([])
        []
        """
        if not self.options.test:
            return []
        cells = {cell.name: cell for cell in self.cells}
        chosen = [cells[choice.setting.name] for choice in self._choices(records)]
        return [*self.cells[:2], *chosen]

    def report(
        self, run: Run, records: Sequence[Record], tests: Sequence[Record]
    ) -> Path:
        """Writes report.html, report.md and figures/, and prints the tables."""
        return report.write(
            run.path,
            list(self.settings.values()),
            self._choices(records),
            criterion=self.criterion,
            records=records,
            tests=tests,
            evals=self._evals(Run(run.path / f"seed{self.options.seeds[0]}")),
        )

    def _choices(self, records: Sequence[Record]) -> list[Choice]:
        return choose(list(self.settings.values()), records, self.criterion)

    def _evals(self, run: Run) -> dict[str, list[Record]]:
        """The hold-out over epochs, by cell."""
        evals: dict[str, list[Record]] = {cell.name: [] for cell in self.cells}
        for line in run.read_metrics():
            if line["kind"] == "eval" and line["stage"] in evals:
                evals[line["stage"]].append(line)
        return evals

    def _described(self, cell: str) -> dict[str, Any]:
        setting = self.settings.get(cell)
        if setting is None:
            return {}
        return {
            "penalty": setting.penalty,
            "strength": setting.strength,
            "options": dict(setting.options),
            "fatrelu": setting.budget,
        }

    def _cells(self) -> list[Stage]:
        options, config = self.options, self.options.base()
        baseline = options.pretrain.stage(config)
        baseline = replace(baseline, name="baseline", phase="")
        # One optimizer for all cells: they share one compiled step per penalty.
        optimizer = options.optim.optimizer(lr=options.cells.lr)
        control = stages.control(
            epochs=options.cells.epochs, optimizer=optimizer, start=baseline.name
        )

        def cell(setting: Setting) -> Stage:
            stage = Stage(name=setting.name, epochs=0, optimizer=optimizer)
            if setting.budget is not None:
                trained = replace(setting, budget=None).name
                fat_relus = partial(_fat_relus, budget=setting.budget)
                return replace(stage, start=trained, on_entry=fat_relus)
            term = setting.term(warmup=options.cells.warmup_epochs)
            return replace(
                stage,
                start=baseline.name,
                epochs=options.cells.epochs,
                objective=Objective(terms=(term,)),
            )

        return [baseline, control, *map(cell, self.settings.values())]


def _fat_relus(network: Network, *, context: Context, budget: float) -> Network:
    found = fat_relu.search(context, network, budget=budget)
    return fat_relu.put_on(network, found.thresholds)
