"""A finished run, opened again: its configuration and its stages' networks."""

from dataclasses import replace

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.typing import Network
from experiments import build
from experiments.config import from_nested
from experiments.pipeline import build_stages

__all__ = ["reopen", "weights_of"]


def reopen(
    run_dir: str, *, data_dir: str | None = None
) -> tuple[train.Context, list[train.Stage]]:
    """Data, model and devices of a finished run, and its stages.

    Args:
      run_dir: where it was written.
      data_dir: where prepared data sets lie, if not where the run had them.

    Raises:
      ValueError: it is no run, or it is not finished.
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
    context = build.build_context(config, run, train.Console())
    return context, build_stages(config)


def weights_of(context: train.Context, stage: train.Stage) -> Network:
    """The network at a stage's end, from its checkpoint."""
    path = context.run.checkpoints / stage.path
    network = train.load_weights(path, sharding=context.sharding)
    return context.with_model(network)
