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

    >>> mesh = make_mesh(jax.devices()[:1])
    >>> mesh.axis_names, mesh.size
    (('data',), 1)
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole.

    >>> sharding = replicated(make_mesh(jax.devices()[:1]))
    >>> sharding.is_fully_replicated, sharding.shard_shape((6, 3))
    (True, (6, 3))
    """
    return NamedSharding(mesh, PartitionSpec())


def put_batch(batch: Mapping[str, Any], mesh: Mesh, *, sharded: bool = True) -> Any:
    """Host arrays to devices.

    Args:
      batch: this process's part of the global batch; or, with `sharded=False`, the
        whole batch, the same on every process.
      mesh: from `make_mesh`.
      sharded: whether the leading axis is split over the devices.

    >>> import numpy as np
    >>> mesh = make_mesh(jax.devices()[:1])
    >>> batch = put_batch({"label": np.array([3, 1])}, mesh)
    >>> batch["label"].tolist(), batch["label"].sharding.spec[0]
    ([3, 1], 'data')
    """
    spec = PartitionSpec("data") if sharded else PartitionSpec()
    sharding = NamedSharding(mesh, spec)
    return {
        name: jax.make_array_from_process_local_data(sharding, x)
        for name, x in batch.items()
    }


def check_batch(name: str, batch_size: int, mesh: Mesh) -> None:
    """Refuses a global batch that the devices cannot share equally.

    >>> check_batch("batch_size", 0, make_mesh(jax.devices()[:1]))
    Traceback (most recent call last):
    ValueError: batch_size must be a positive multiple of the 1 devices, got 0
    """
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(
            f"{name} must be a positive multiple of the {mesh.size} devices,"
            f" got {batch_size}"
        )
