"""A finished run, opened again: its options and its stages' networks."""

from dataclasses import replace

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train.stage_order import directory_of
from dst_jax.typing import Network
from experiments.running.config_record import options_of

__all__ = ["network_at_end", "network_of", "reopen", "stage_names"]


def reopen(run_dir: str, *, data_dir: str | None = None) -> train.Context:
    """Data, model and devices of a finished run, whether a command or Python ran it.

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
    config = options_of(run)
    if run.read_summary() is None:
        raise ValueError(f"{run.path} is not finished: the same command resumes it")
    if data_dir is not None:
        config = replace(config, data=replace(config.data, dir=data_dir))
    return config.context(run, train.Console())


def stage_names(run: Run) -> tuple[str, ...]:
    """The stages of a run in order, by its record.

    >>> stage_names(Run("runs/none"))
    ()
    """
    return tuple((run.read_config() or {}).get("stages", ()))


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
