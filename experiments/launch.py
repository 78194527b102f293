"""From a command line to a finished run and its report."""

import datetime
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax

from dst_jax import report, train
from dst_jax.runs import Run
from experiments import build
from experiments.accelerators import estimate_stages
from experiments.checks import check
from experiments.command import parse, refuse_another, status
from experiments.config import Config, nested
from experiments.init import init_weights
from experiments.pipeline import build_stages

__all__ = ["main"]


def main(
    name: str,
    presets: Mapping[str, Config],
    *,
    doc: str,
    argv: list[str] | None = None,
) -> int:
    """Runs an experiment; returns the exit status.

    Args:
      name: of the module, for the default run directory.
      presets: configurations by name; options on the command line override.
      doc: shown by `--help`.
      argv: the arguments; the command line's by default.
    """
    argv = sys.argv[1:] if argv is None else argv
    config = parse(presets, argv, prog=f"python -m experiments.{name}", doc=doc)
    directory = Path(config.run.dir or f"runs/{name}-{config.preset}").absolute()
    config = replace(config, run=replace(config.run, dir=str(directory)))

    def plan() -> list[train.Stage]:
        check(config)
        stages = build_stages(config)
        build.rehearse(config, stages)
        return stages

    def work(stages: list[train.Stage]) -> None:
        _run(name, config, stages, argv)

    return status(plan, work, directory)


def _run(name: str, config: Config, stages: list[train.Stage], argv: list[str]) -> None:
    if config.run.multihost:
        jax.distributed.initialize()
    first = jax.process_index() == 0
    console = train.Console(quiet=not first)
    run = Run(str(config.run.dir), writer=first)
    refuse_another(config, run)
    if run.read_summary() is None:
        _train(name, config, stages, argv, run, console)
    else:
        console.say(f"{run.path} is finished; this is its result")
    if first:
        report.show([run.path])
        console.say(f"report: {report.write(run.path)}")


def _train(
    name: str,
    config: Config,
    stages: list[train.Stage],
    argv: list[str],
    run: Run,
    console: train.Console,
) -> None:
    if config.run.compilation_cache is not None:
        cache = str(Path(config.run.compilation_cache).absolute())
        jax.config.update("jax_compilation_cache_dir", cache)
    context = build.build_context(config, run, console)
    init = init_weights(config, context)
    if run.read_config() is None:
        run.write_config(_record(name, config, stages, argv))
    console.say(_headline(context, run))
    train.train(context, stages, config=nested(config), init=init)
    if config.run.accelerators and run.writer:
        estimate_stages(context, stages, config.run.accelerators)


def _record(
    name: str, config: Config, stages: list[train.Stage], argv: list[str]
) -> dict[str, object]:
    return {
        "config": nested(config),
        "stages": list(dict.fromkeys(stage.name for stage in stages)),
        "command": shlex.join(["python", "-m", f"experiments.{name}", *argv]),
        "seed": config.run.seed,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **train.records.provenance(),
    }


def _headline(context: train.Context, run: Run) -> str:
    sets = context.dataset
    held = 0 if sets.holdout is None else len(sets.holdout)
    return (
        f"{sets.name}: {len(sets.train)} training, {held} hold-out, {len(sets.test)}"
        f" test images of {sets.image_shape}; {context.steps_per_epoch} steps an epoch"
        f" on {context.mesh.size} device(s); run directory {run.path}"
    )
