"""Global-view data parallelism: one mesh over all devices of all hosts."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = ["check_batch", "make_mesh", "put_batch", "replicated"]


def make_mesh(devices: list[Any] | None = None) -> Mesh:
    """A one-axis mesh, "data", over all devices (of every host) or the given ones.

    Batch normalisation and penalties see the global batch, because a jitted function
    over global arrays means what it says whatever their sharding.
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def put_batch(batch: Mapping[str, Any], mesh: Mesh, *, sharded: bool = True) -> Any:
    """Host arrays to devices.

    Args:
      batch: this process's part of the global batch; or, with `sharded=False`, the
        whole batch, the same on every process.
      mesh: from `make_mesh`.
      sharded: whether the leading axis is split over the devices.
    """
    spec = PartitionSpec("data") if sharded else PartitionSpec()
    sharding = NamedSharding(mesh, spec)
    return {
        name: jax.make_array_from_process_local_data(sharding, x)
        for name, x in batch.items()
    }


def check_batch(name: str, batch_size: int, mesh: Mesh) -> None:
    """Refuses a global batch that the devices cannot share equally."""
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(
            f"{name} must be a positive multiple of the {mesh.size} devices,"
            f" got {batch_size}"
        )
