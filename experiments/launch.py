"""From a command line to a finished run and its report."""

import argparse
import datetime
import logging
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import jax
import tyro

from dst_jax import report, train
from dst_jax.runs import Run
from experiments import build
from experiments.accelerators import estimate_stages
from experiments.checks import check
from experiments.config import Config, differences, nested
from experiments.init import init_weights

__all__ = ["main", "parse"]

T = TypeVar("T")


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
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        check(config)
        stages = build.build_stages(config)
        build.rehearse(config, stages)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    directory = str(Path(config.run.dir or f"runs/{name}-{config.preset}").absolute())
    config = replace(config, run=replace(config.run, dir=directory))
    try:
        return _run(name, config, stages, argv)
    except train.Interrupted as error:
        print(f"{error}; the same command resumes: {directory}")
        return 0
    except (ValueError, OSError, train.NonFiniteLoss) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parse(presets: Mapping[str, T], argv: list[str], *, prog: str, doc: str) -> T:
    """The preset's configuration with the command line's overrides."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="full")
    preset = first.parse_known_args(argv)[0].preset
    default = presets.get(preset, presets["full"])  # tyro refuses an unknown preset
    return tyro.cli(
        type(default), default=default, args=argv, prog=prog, description=doc
    )


def _run(name: str, config: Config, stages: list[train.Stage], argv: list[str]) -> int:
    if config.run.multihost:
        jax.distributed.initialize()
    first = jax.process_index() == 0
    narrator = train.Narrator(quiet=not first)
    run = Run(str(config.run.dir), writer=first)
    earlier = run.read_config()
    if earlier is not None:
        changed = differences(config, earlier["config"])
        if changed:
            raise ValueError(
                f"{run.path} holds another run: {'; '.join(changed)}. Give another"
                " --run.dir, or the same options to resume"
            )
    if run.read_summary() is None:
        _train(name, config, stages, argv, run, narrator)
    else:
        narrator.say(f"{run.path} is finished; this is its result")
    if first:
        report.show([run.path])
        narrator.say(f"report: {report.write(run.path)}")
    return 0


def _train(
    name: str,
    config: Config,
    stages: list[train.Stage],
    argv: list[str],
    run: Run,
    narrator: train.Narrator,
) -> None:
    if config.run.compilation_cache is not None:
        cache = str(Path(config.run.compilation_cache).absolute())
        jax.config.update("jax_compilation_cache_dir", cache)
    setup = build.build_setup(config, run, narrator)
    init = init_weights(config, setup)
    if run.read_config() is None:
        run.write_config(_record(name, config, stages, argv))
    narrator.say(_headline(setup, run))
    train.train(setup, stages, config=nested(config), init=init)
    if config.run.accelerators and run.writer:
        estimate_stages(setup, stages, config.run.accelerators)


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


def _headline(setup: train.Setup, run: Run) -> str:
    sets = setup.dataset
    held = 0 if sets.holdout is None else len(sets.holdout)
    return (
        f"{sets.name}: {len(sets.train)} training, {held} hold-out, {len(sets.test)}"
        f" test images of {sets.image_shape}; {setup.steps_per_epoch} steps an epoch on"
        f" {setup.mesh.size} device(s); run directory {run.path}"
    )
