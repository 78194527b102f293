"""A finished run, opened again: its options and its stages' networks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dst_jax import checks, data, train
from dst_jax.runs import Run
from dst_jax.train.stage_order import directory_of
from dst_jax.typing import Network
from experiments.running.config_record import options_of

__all__ = ["network_at_end", "network_of", "reopen", "stage_names", "stage_of"]


def reopen(
    run_dir: str, *, data_dir: str | None = None, data_name: str | None = None
) -> train.Context:
    """Data, model and devices of a finished run, whether a command or Python ran it.

    Mean and deviation are those that the run has recorded, with which its networks were
    trained. Other data than the run's are said.

    Args:
      run_dir: directory of the run.
      data_dir: directory of prepared data sets, if not where the run had them.
      data_name: name of the data set, if it is not found by the run's own.

    Raises:
      ValueError: it is no run, or it is not finished; or the data have other classes or
        images of another shape.

    >>> reopen("runs/none")
    Traceback (most recent call last):
    ValueError: ...runs/none is not a run: it has no config.json
    """
    run = Run(run_dir)
    config = options_of(run)
    if run.read_summary() is None:
        raise ValueError(f"{run.path} is not finished: the same command resumes it")
    if data_dir is not None:
        config = replace(config, data=replace(config.data, dir=data_dir))
    if data_name is not None:
        config = replace(config, data=replace(config.data, name=data_name))
    recorded = (run.read_config() or {}).get("data") or {}
    try:
        found = config.data.load(recorded=recorded)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the data of {run.path} cannot be opened: {error}. --data-name and"
            " --data-dir say where they are now"
        ) from None
    console = train.Console()
    _compare(recorded, data.fingerprint(found), console)
    return config.context(run, console, data=found)


def _compare(
    recorded: Mapping[str, Any], found: Mapping[str, Any], console: train.Console
) -> None:
    """Refuses data that do not fit a run's networks; says what else has changed."""
    for name in ("num_classes", "image_shape", "class_names"):
        if name in recorded and name in found and found[name] != recorded[name]:
            raise ValueError(
                f"the data set {found['name']!r} has {name} {found[name]}, the run was"
                f" trained with {recorded[name]}"
            )
    for line in train.records.changes({"data": recorded}, {"data": found}):
        console.say(line)


def stage_names(run: Run) -> tuple[str, ...]:
    """The stages of a run in order, by its record.

    >>> stage_names(Run("runs/none"))
    ()
    """
    return tuple((run.read_config() or {}).get("stages", ()))


def stage_of(run: Run, stage: str | None) -> str:
    """The stage that a command is about.

    Args:
      run: a run with at least one stage.
      stage: name of the stage; None for the last one.

    Raises:
      ValueError: the run has no such stage.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Run(folder).write_config({"stages": ["pretrain", "prune"]})
    ...     stage_of(Run(folder), None)
    'prune'
    """
    names = stage_names(run)
    found = names[-1] if stage is None else stage
    checks.one_of("--stage", found, names)
    return found


def network_at_end(context: train.Context, stage: str) -> Network:
    """The network at the end of a stage of a run, from its checkpoint.

    Args:
      context: context of the run.
      stage: name of the stage.
    """
    path = directory_of(context.run, stage)
    return context.with_model(train.load_weights(path, sharding=context.sharding))


def network_of(context: train.Context, stage: train.Stage) -> Network:
    """The network at a stage's end, from its checkpoint.

    Args:
      context: context of the run.
      stage: the stage, or its last phase.
    """
    path = context.run.checkpoints / stage.path
    return context.with_model(train.load_weights(path, sharding=context.sharding))
