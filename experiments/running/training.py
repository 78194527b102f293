"""A run: trained where it is not finished, and reported."""

import datetime
import os
import shlex
from dataclasses import replace

import jax

from dst_jax import report, train
from dst_jax.runs import Run
from dst_jax.train import agreement
from experiments.accelerators import estimate_stages
from experiments.options import Config
from experiments.running.config_record import nested, refuse_another
from experiments.running.forward_times import time_stages
from experiments.running.stored_tensors import store_stages

__all__ = ["run"]


def run(
    name: str,
    config: Config,
    stages: list[train.Stage],
    argv: list[str],
    *,
    note: str = "",
) -> None:
    """Trains what is not finished of a run, and reports it.

    Args:
      name: name of the experiment.
      config: all options.
      stages: the stages that they make.
      argv: the command line's arguments, for the record.
      note: a line that is said of the data before training; none if empty.

    Raises:
      ValueError: the run directory holds another run, another process writes in it, or
        an option does not fit the data.
      Interrupted, NonFiniteLoss: as in `train.train`.
    """
    config.run.set_up_jax()
    if config.data.workers:
        # Python frees what a killed worker leaves in shared memory, and warns of it.
        quiet = [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker"]
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, quiet))
    first = jax.process_index() == 0
    console = train.Console(quiet=not first)
    directory = Run(str(config.run.dir), writer=first)
    refuse_another(config, directory)
    if not agreement.agreed(directory.read_summary() is not None):
        with agreement.locked(directory):
            _train(name, config, stages, argv, directory, console, note)
    else:
        console.say(f"{directory.path} is finished; this is its result")
    if first:
        report.show([directory.path])
        _write_report(directory, console)


def _write_report(directory: Run, console: train.Console) -> None:
    """Writes the report; says so if it cannot be written, as on a disk that is full."""
    try:
        console.say(f"report: {report.write(directory.path)}")
    except OSError as error:
        console.say(f"the report cannot be written: {error}")


def _train(
    name: str,
    config: Config,
    stages: list[train.Stage],
    argv: list[str],
    directory: Run,
    console: train.Console,
    note: str,
) -> None:
    context = config.context(directory, console)
    init = config.init.network(config, context)
    if directory.read_config() is None:
        directory.write_config(_record(name, config, argv))
    console.say(_headline(context))
    if note:
        console.say(note)
    context = replace(context, events=config.run.events(directory, nested(config)))
    train.train(context, stages, config=nested(config), init=init)
    if config.run.accelerators:  # every process: networks are restored together
        estimate_stages(context, config.run.accelerators)
    if config.run.storage_bits is not None:
        store_stages(context, value_bits=config.run.storage_bits)
    if config.channels.timing_runs and jax.process_count() == 1:
        time_stages(
            context,
            runs=config.channels.timing_runs,
            batch=config.channels.timing_batch,
        )


def _record(name: str, config: Config, argv: list[str]) -> dict[str, object]:
    return {
        "config": nested(config),
        "command": shlex.join(["python", "-m", f"experiments.{name}", *argv]),
        "seed": config.run.seed,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **train.records.provenance(),
    }


def _headline(context: train.Context) -> str:
    sets = context.dataset
    held = 0 if sets.holdout is None else len(sets.holdout)
    return (
        f"{sets.name}: {len(sets.train)} training, {held} hold-out, {len(sets.test)}"
        f" test images of {sets.image_shape}; {context.steps_per_epoch} steps an epoch"
        f" on {context.mesh.size} device(s); run directory {context.run.path}"
    )
