"""A finished run, opened again: its options and its stages' networks."""

from dataclasses import replace

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.typing import Network
from experiments.running.config_record import from_nested

__all__ = ["network_of", "reopen"]


def reopen(
    run_dir: str, *, data_dir: str | None = None
) -> tuple[train.Context, list[train.Stage]]:
    """Data, model and devices of a finished run, and its stages.

    Args:
      run_dir: directory of the run.
      data_dir: directory of prepared data sets, if not where the run had them.

    Raises:
      ValueError: it is no run, or it is not finished.

    >>> reopen("runs/none")
    Traceback (most recent call last):
    ValueError: ...runs/none is not a run: it has no config.json
    """
    run = Run(run_dir)
    record = run.read_config()
    if record is None:
        raise ValueError(f"{run.path} is not a run: it has no config.json")
    if not record["config"]:
        raise ValueError(f"{run.path} was not made by a command: it has no options")
    if run.read_summary() is None:
        raise ValueError(f"{run.path} is not finished: the same command resumes it")
    config = from_nested(record["config"])
    if data_dir is not None:
        config = replace(config, data=replace(config.data, dir=data_dir))
    return config.context(run, train.Console()), config.stages()


def network_of(context: train.Context, stage: train.Stage) -> Network:
    """The network at a stage's end, from its checkpoint.

    Args:
      context: context of the run.
      stage: the stage, or its last phase.
    """
    path = context.run.checkpoints / stage.path
    return context.with_model(train.load_weights(path, sharding=context.sharding))
