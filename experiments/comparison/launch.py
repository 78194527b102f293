"""From a command line to a comparison and its report."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train import Stage, stages
from dst_jax.train.objective import Objective
from experiments import build
from experiments.command import parse, refuse_another, status
from experiments.comparison import cells, report
from experiments.comparison.choice import Rule, choose
from experiments.comparison.grid import Setting
from experiments.comparison.options import FREE, Compare, base, checked
from experiments.comparison.records import Record, Records
from experiments.config import nested
from experiments.init import init_weights

__all__ = ["main"]


def main(
    presets: Mapping[str, Compare], *, doc: str, argv: list[str] | None = None
) -> int:
    """Runs or continues a comparison; returns the exit status.

    Args:
      presets: options by name; those on the command line override.
      doc: shown by `--help`.
      argv: the arguments; the command line's by default.
    """
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.compare_penalties"
    options = parse(presets, argv, prog=prog, doc=doc)
    out = Path(options.dir or f"runs/compare_penalties-{options.preset}").absolute()

    def plan() -> cells.Plan:
        planned = _plan(options, checked(options))
        build.rehearse(base(options), [planned.baseline, planned.control])
        return planned

    def work(planned: cells.Plan) -> None:
        _run(options, planned, Run(out), command=f"{prog} {shlex.join(argv)}".strip())

    return status(plan, work, out)


def _run(options: Compare, plan: cells.Plan, run: Run, *, command: str) -> None:
    if not refuse_another(options, run, free=FREE):
        made = {"config": nested(options), "command": command}
        run.write_config(made | train.records.provenance())
    console = train.Console()
    context = build.build_context(base(options), run, console)
    records, tests = Records(run.path / "cells.jsonl"), Records(run.path / "test.jsonl")
    init = init_weights(base(options), context)
    cells.train_cells(context, plan, records, init=init)
    own = _of(records, [stage.name for stage in plan.stages], plan)
    settings = [setting for setting, _ in plan.cells]
    least = None if options.sparsity is None else options.sparsity / 100
    rule = Rule(options.margin / 100, least)
    choices = choose(settings, own, rule)
    stage_of = dict(plan.cells)
    chosen = [stage_of[choice.setting] for choice in choices]
    final = [plan.baseline, plan.control, *chosen]
    tested: list[Record] = []
    if options.test:
        cells.evaluate_on_test(context, final, plan.seeds, tests)
        tested = _of(tests, [stage.name for stage in final], plan)
    console.finish()
    path = report.write(
        run.path,
        settings,
        choices,
        rule=rule,
        records=own,
        tests=tested,
        evals=_evals(cells.of_seed(context, plan.seeds[0]).run, plan),
    )
    console.say(f"report: {path}")


def _evals(run: Run, plan: cells.Plan) -> dict[str, list[Record]]:
    """The hold-out over epochs, by cell."""
    evals: dict[str, list[Record]] = {stage.name: [] for stage in plan.stages}
    for line in run.read_metrics():
        if line["kind"] == "eval" and line["stage"] in evals:
            evals[line["stage"]].append(line)
    return evals


def _of(records: Records, names: list[str], plan: cells.Plan) -> list[Record]:
    """Those that the plan asks for: a directory may hold more seeds and settings."""
    found = [records.get(name, seed) for name in names for seed in plan.seeds]
    return [record for record in found if record is not None]


def _plan(options: Compare, settings: list[Setting]) -> cells.Plan:
    first = build.build_optimizer(
        options.optim, lr=options.pretrain.lr, warmup=options.optim.warmup_epochs
    )
    baseline = replace(
        stages.pretrain(epochs=options.pretrain.epochs, optimizer=first),
        name="baseline",
        phase="baseline",
    )
    # One optimizer for all cells: they share one compiled step per penalty.
    optimizer = build.build_optimizer(options.optim, lr=options.cells.lr)
    epochs, warmup = options.cells.epochs, options.cells.warmup_epochs
    control = stages.control(epochs=epochs, optimizer=optimizer, start="baseline")

    def cell(setting: Setting) -> Stage:
        if setting.budget is not None:
            objective, length = Objective(), 0.0
        else:
            objective = Objective(terms=(setting.term(warmup=warmup),))
            length = epochs
        return Stage(
            name=setting.name, epochs=length, optimizer=optimizer, objective=objective
        )

    pairs = [(setting, cell(setting)) for setting in settings]
    return cells.Plan(baseline, control, pairs, options.seeds)
