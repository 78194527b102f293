"""Removals of channels: their cells, what is measured, and what is reported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from dst_jax import pruning
from dst_jax.models.smaller import Smaller
from dst_jax.runs import Run
from dst_jax.train import Context, Objective, Stage, stages
from dst_jax.train.stages import Collapse, RemoveUnits
from dst_jax.typing import Network
from experiments.grid import rows
from experiments.grid.cells import Ends
from experiments.grid.engine import Comparison
from experiments.grid.penalties.settings import Setting
from experiments.grid.penalties.settings import parse as parse_penalties
from experiments.grid.records import Record
from experiments.grid.removals import figures, tables
from experiments.grid.removals.controls import multiplications, narrower, same_widths
from experiments.grid.removals.options import RemovalGrid
from experiments.options import ChannelOptions, Config, RelaxationOptions
from experiments.options.texts import about, file_name, pairs, value
from experiments.running.forward_times import relative_time
from experiments.running.quality import quality_of

__all__ = ["RemovalComparison"]

T = TypeVar("T")
_PRUNED = "pruned"


class RemovalComparison(Comparison):
    """Removals from each seed's baseline, their controls, and penalties after them.

    Cells: the `baseline`; the dense `control`, trained on as long as a removal; every
    removal; `same_widths` and `narrower`, from scratch, as small as the first removal;
    the rounds of every relaxation, and both controls of the first;
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
        self.relaxations = _relaxations(options)
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
            "units": None
            if plan is None
            else {k: len(u) for k, u in plan.keep.items()},
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
        """Writes report.html, report.md and table.jsonl, and prints the table."""
        names = [cell.name for cell in self.cells]
        found = tables.rows(names, records, tests, self.quality)
        table = tables.table(found, self.quality)
        rounds = {
            name: [c.name for c in self.cells if c.name == name or _is_round(c, name)]
            for name in self.relaxations
        }
        drawn = figures.widths(records, rounds)
        more = {} if drawn is None else {"widths_over_rounds": drawn}
        title = "Removals of channels compared"
        return rows.write(run.path, title, found, table, more)

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
            found += _scratch(baseline, [removals[0]], "")
        for i, (name, relaxation) in enumerate(self.relaxations.items()):
            rounds = _rounds(name, relaxation, config)
            found += rounds
            if options.controls and i == 0:
                found += _scratch(baseline, rounds, f"_{name}")
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


def _scratch(baseline: Stage, before: Sequence[Stage], suffix: str) -> list[Stage]:
    """Fresh weights at the widths at the end of some cells, and narrower networks."""
    epochs = baseline.epochs + sum(cell.epochs for cell in before)
    fresh = replace(baseline, epochs=epochs, start=before[-1].name, phase="")
    return [
        replace(fresh, name=f"same_widths{suffix}", on_entry=same_widths),
        replace(fresh, name=f"narrower{suffix}", on_entry=narrower),
    ]


def _removals(options: RemovalGrid) -> dict[str, ChannelOptions]:
    """The options of every removal, by the name of its cell."""

    def removal(score: str, given: dict[str, Any]) -> ChannelOptions:
        found = options.removal(score, **given)
        found.check(options.base())
        found.choice()
        return found

    return _named("removals", options.removals, removal)


def _relaxations(options: RemovalGrid) -> dict[str, RelaxationOptions]:
    """The options of every relaxation, by the name of its last cell."""

    def relaxation(push: str, given: dict[str, Any]) -> RelaxationOptions:
        found = options.relaxed(push, **given)
        found.check(options.base())
        found.gates()
        return found

    return _named("relaxations", options.relaxations, relaxation)


def _named(
    option: str, texts: Sequence[str], make: Callable[[str, dict[str, Any]], T]
) -> dict[str, T]:
    """What is made of texts `WORD [NAME=VALUE ...]`, by the names of their cells."""
    found: dict[str, T] = {}
    for text in texts:
        word, *rest = text.split() or [""]
        with about(f"--{option}: {text!r}"):
            made = make(word, {name: value(one) for name, one in pairs(rest)})
        name = file_name("_".join(text.split()))
        if name in found:
            raise ValueError(f"--{option} names {text!r} more than once")
        found[name] = made
    return found


def _sizes(parts: Mapping[str, Sequence[Any]]) -> dict[str, int]:
    return {name: len(part) for name, part in parts.items()}


def _is_round(cell: Stage, name: str) -> bool:
    """Whether a cell is a round of a relaxation."""
    return cell.name.startswith(f"{name}_search")


def _rounds(name: str, options: RelaxationOptions, config: Config) -> list[Stage]:
    """The phases of a relaxation as cells, each from the one before; the last has its
    name."""
    cells: list[Stage] = []
    phases = options.stages(config, start="baseline")
    for phase in phases:
        own = name if phase is phases[-1] else f"{name}_{phase.phase}"
        hook = phase.on_entry
        if isinstance(hook, Collapse):
            hook = replace(hook, path=own)
        start = cells[-1].name if cells else "baseline"
        cell = replace(phase, name=own, phase="", title="", on_entry=hook, start=start)
        cells.append(cell)
    return cells


def _removal(name: str, options: ChannelOptions, config: Config) -> Stage:
    """The stage of a removal as a cell with a name of its own."""
    (stage,) = options.stages(config, start="baseline")
    hook = stage.on_entry
    assert isinstance(hook, RemoveUnits)
    return replace(stage, name=name, phase="", on_entry=replace(hook, path=name))


def _size(network: Network) -> int:
    """The number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(network.params))
