"""Global-view data parallelism: one mesh over all devices of all hosts."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array

__all__ = [
    "abstract_like",
    "check_batch",
    "make_mesh",
    "put_batch",
    "replicated",
]


def make_mesh(devices: list[Any] | None = None) -> Mesh:
    """A one-axis mesh, "data", over devices.

    Batch normalisation and penalties see the global batch, because a jitted function
    of global arrays returns the same for every sharding of them.

    Args:
      devices: devices of the mesh; all, of every host, if None.

    >>> make_mesh().axis_names
    ('data',)
    """
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole.

    >>> replicated(make_mesh()).is_fully_replicated
    True
    """
    return NamedSharding(mesh, PartitionSpec())


def put_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh, *, sharded: bool = True
) -> dict[str, Array]:
    """The arrays of a batch on the devices.

    Args:
      batch: this process's part of the global batch; or, with `sharded=False`, the
        whole batch, the same on every process.
      mesh: from `make_mesh`.
      sharded: whether the leading axis is split over the devices.

    >>> put_batch({"label": np.arange(4)}, make_mesh())["label"].shape
    (4,)
    """
    spec = PartitionSpec("data") if sharded else PartitionSpec()
    sharding = NamedSharding(mesh, spec)
    return {
        name: jax.make_array_from_process_local_data(sharding, x)
        for name, x in batch.items()
    }


def check_batch(name: str, batch_size: int, mesh: Mesh) -> None:
    """Refuses a global batch that the devices cannot share equally.

    Args:
      name: the argument, for the message.
      batch_size: its value.
      mesh: the devices.

    Raises:
      ValueError: it is not a positive multiple of the number of devices.

    >>> check_batch("batch_size", 0, make_mesh(jax.devices()[:1]))
    Traceback (most recent call last):
    ValueError: batch_size must be a positive multiple of the 1 devices, got 0
    """
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(
            f"{name} must be a positive multiple of the {mesh.size} devices,"
            f" got {batch_size}"
        )


def abstract_like(tree: Any, sharding: Sharding) -> Any:
    """Shapes, dtypes and one sharding for every array of a tree: what Orbax needs.

    >>> abstract_like({"w": np.ones(2)}, replicated(make_mesh()))["w"].shape
    (2,)
    """
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )
