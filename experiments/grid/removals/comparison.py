"""Removals of channels: their cells, what is measured, and what is reported."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import pruning
from dst_jax.models.smaller import Smaller
from dst_jax.runs import Run
from dst_jax.train import Context, Objective, Stage, stages
from dst_jax.train.stages import RemoveUnits
from dst_jax.typing import Network
from experiments.grid import rows
from experiments.grid.cells import Ends
from experiments.grid.engine import Comparison
from experiments.grid.penalties.settings import Setting
from experiments.grid.penalties.settings import parse as parse_penalties
from experiments.grid.records import Record
from experiments.grid.removals import tables
from experiments.grid.removals.controls import multiplications, narrower, same_widths
from experiments.grid.removals.options import RemovalGrid
from experiments.options import ChannelOptions, Config
from experiments.options.texts import about, file_name, pairs, value
from experiments.running.forward_times import relative_time
from experiments.running.quality import quality_of

__all__ = ["RemovalComparison"]

_PRUNED = "pruned"


class RemovalComparison(Comparison):
    """Removals from each seed's baseline, their controls, and penalties after them.

    Cells: the `baseline`; the dense `control`, trained on as long as a removal; every
    removal; `same_widths` and `narrower`, from scratch, as small as the first removal;
    `pruned`, weights by magnitude; and each penalty on activation maps after the first
    removal, after `pruned`, and after the control.

    Args:
      options: the options of the comparison.

    Raises:
      ValueError: an unknown score, penalty or option, or a value out of range.
    """

    def __init__(self, options: RemovalGrid):
        self.options = options
        self.quality = quality_of(options.task.create(options.base()))
        self.removals = _removals(options)
        with about("--penalties"):
            self.penalties = parse_penalties(options.penalties.grid)
        self.cells = self._cells()

    def measure(
        self, context: Context, cell: Stage, network: Network, ends: Ends
    ) -> dict[str, Any]:
        """The hold-out on the end of a cell, its size, and its time on this machine."""
        baseline = ends(self.cells[0].name)
        holdout = context.dataset.holdout
        found = None
        if holdout is not None:
            found = context.evaluate(network, holdout, count=False)
        plan = network.model.plan if isinstance(network.model, Smaller) else None
        runs = self.options.channels.timing_runs
        batch = self.options.channels.timing_batch
        x = jnp.zeros((batch, *context.example.shape[1:]), context.example.dtype)
        return {
            "holdout": None if found is None else dict(found.metrics),
            "multiplications": multiplications(network, context)
            / multiplications(baseline, context),
            "parameters": _size(network) / _size(baseline),
            "forward_time": relative_time(network, baseline, x, runs=runs),
            "kept": None if plan is None else {k: len(u) for k, u in plan.kept.items()},
        }

    def line(self, record: Record) -> str:
        """The hold-out's quality and what is left.

        >>> comparison = RemovalComparison(RemovalGrid(removals=("l2",)))
        >>> comparison.line({"holdout": {"top1": 0.9}, "multiplications": 0.5})
        'hold-out top-1 90.00%, 50.00% of the multiplications'
        """
        said = f"{record['multiplications']:.2%} of the multiplications"
        if record["holdout"] is None:
            return said
        return f"hold-out {self.quality.say(record['holdout'])}, {said}"

    def tested(self, records: Sequence[Record]) -> list[Stage]:
        """All cells: nothing is chosen between them."""
        del records
        return list(self.cells)

    def report(
        self, run: Run, records: Sequence[Record], tests: Sequence[Record]
    ) -> Path:
        """Writes report.md and table.jsonl, and prints the table."""
        names = [cell.name for cell in self.cells]
        found = tables.rows(names, records, tests, self.quality)
        table = tables.table(found, self.quality)
        return rows.write(run.path, "Removals of channels compared", found, table)

    def _cells(self) -> list[Stage]:
        options, config = self.options, self.options.base()
        baseline = replace(options.pretrain.stage(config), name="baseline", phase="")
        trained = Stage(
            name="control",
            epochs=options.channels.epochs,
            optimizer=options.optim.optimizer(lr=options.channels.lr),
            start=baseline.name,
        )
        removals = [
            _removal(name, removal, config) for name, removal in self.removals.items()
        ]
        found = [baseline, trained, *removals]
        if options.controls:
            scratch = replace(
                baseline,
                epochs=options.pretrain.epochs + options.channels.epochs,
                start=removals[0].name,
            )
            found += [
                replace(scratch, name="same_widths", phase="", on_entry=same_widths),
                replace(scratch, name="narrower", phase="", on_entry=narrower),
            ]
        sparse = [removals[0], trained]
        if options.sparsity is not None:
            prune = partial(pruning.masks.magnitude, sparsity=options.sparsity)
            pruned = replace(
                trained, name=_PRUNED, phase="", on_entry=stages.choose_mask(prune)
            )
            found.append(pruned)
            sparse.append(pruned)
        for start in sparse:
            found += [self._penalised(start, setting) for setting in self.penalties]
        return found

    def _penalised(self, start: Stage, setting: Setting) -> Stage:
        options = self.options.penalties
        return Stage(
            name=f"{start.name}_{setting.name}",
            epochs=options.epochs,
            optimizer=self.options.optim.optimizer(lr=options.lr),
            objective=Objective(terms=(setting.term(warmup=0),)),
            start=start.name,
        )


def _removals(options: RemovalGrid) -> dict[str, ChannelOptions]:
    """The options of every removal, by the name of its cell."""
    found: dict[str, ChannelOptions] = {}
    for text in options.removals:
        score, *texts = text.split() or [""]
        with about(f"--removals: {text!r}"):
            given = {name: value(one) for name, one in pairs(texts)}
            removal = options.removal(score, **given)
            removal.check(options.base())
            removal.choice()
        name = file_name("_".join(text.split()))
        if name in found:
            raise ValueError(f"--removals names {text!r} more than once")
        found[name] = removal
    return found


def _removal(name: str, options: ChannelOptions, config: Config) -> Stage:
    """The stage of a removal as a cell with a name of its own."""
    (stage,) = options.stages(config, start="baseline")
    hook = stage.on_entry
    assert isinstance(hook, RemoveUnits)
    return replace(stage, name=name, phase="", on_entry=replace(hook, path=name))


def _size(network: Network) -> int:
    """The number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(network.params))
