"""Bits of the tensors of a run in each storage format, at the end of every stage."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dst_jax import train

__all__ = ["store_stages"]


def store_stages(context: "train.Context", *, value_bits: int) -> None:
    """Writes storage/NAME.json for every stage's end, from its checkpoint.

    Args:
      context: context of the run that trained them.
      value_bits: bits of a value, at least 1.
    """
    from dst_jax import runs, train
    from experiments.running import finished_run

    for name in finished_run.stage_names(context.run):
        context.console.say(f"{name}: bits in each storage format")
        network = finished_run.network_at_end(context, name)
        found = train.storage(context, network, value_bits=value_bits)
        runs.write_storage(context.run, name, found)
