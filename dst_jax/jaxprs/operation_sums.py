"""What operations found, added up over iterations, branches and devices.

A visitor finds a pytree of arrays and `Count`s at an operation: both add.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.values import Operation

__all__ = [
    "absent",
    "added",
    "over_devices",
    "over_iterations",
    "split_of",
    "varying",
]

# Limbs are below 2^12: as many as this add up to less than 2^31.
CHUNK = 1 << 16


def added(a: Any, b: Any) -> Any:
    """The sum of two trees of one structure, of arrays and `Count`s.

    >>> added([Count.of(4095), jnp.ones(())], [Count.of(1), jnp.ones(())])
    [Count(4096), Array(2., dtype=float32)]
    """
    return _carried(jax.tree.map(jnp.add, a, b))


def over_iterations(stacked: Any, length: int) -> Any:
    """The sum over the leading axis of every leaf, which is `length` long.

    Exact for at most 2^32 iterations.

    >>> over_iterations(Count(jnp.array([[4095, 0, 0, 0, 0, 0]] * 3, jnp.uint32)), 3)
    Count(12285)
    """
    for _ in range(1 if length <= CHUNK else 2):
        stacked = _carried(jax.tree.map(_chunk_sums, stacked))
    return jax.tree.map(lambda x: x.squeeze(0), stacked)


def absent(shapes: Any) -> Any:
    """Zeros for operations that may not be executed.

    Args:
      shapes: operations with `jax.ShapeDtypeStruct`s for arrays.

    >>> shape = jax.ShapeDtypeStruct((), jnp.float32)
    >>> float(absent([Operation(("fc",), "dot_general", shape)])[0].counts)
    0.0
    """
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return [varying(operation) for operation in zeros]


def split_of(arrays: Iterable[Any]) -> frozenset[str]:
    """The axes of the mesh over whose devices some array differs, in `shard_map`.

    >>> split_of([jnp.ones(3)])
    frozenset()
    """
    avals: list[Any] = [jax.typeof(array) for array in arrays]
    return frozenset().union(*(aval.manual_axis_type.varying for aval in avals))


def varying(operation: Operation, axes: frozenset[str] = frozenset()) -> Operation:
    """An operation whose counts may differ over further `axes` of the mesh.

    >>> varying(Operation(("fc",), "dot_general", jnp.ones(()))).split
    frozenset()
    """
    split = operation.split | axes

    def cast(x: Any) -> Any:
        missing = tuple(sorted(split - split_of([x])))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    counts = jax.tree.map(cast, operation.counts)
    return Operation(operation.path, operation.primitive, counts, split)


def over_devices(operation: Operation, axes: frozenset[str]) -> Operation:
    """The sum over the devices along `axes` that hold different parts.

    Over an axis along which all devices did the same, it is counted once.

    >>> alike = Operation(("fc",), "dot_general", jnp.ones(()))
    >>> over_devices(alike, frozenset({"data"})) is alike
    True
    """
    names = tuple(sorted(operation.split & axes))
    if not names:
        return operation
    sums = jax.tree.map(lambda x: jax.lax.psum(x, names), operation.counts)
    split = operation.split - axes
    return Operation(operation.path, operation.primitive, _carried(sums), split)


def _chunk_sums(x: Array) -> Array:
    n, *rest = x.shape
    size = max(1, min(n, CHUNK))
    x = jnp.pad(x, [(0, -n % size if n else 1)] + [(0, 0)] * len(rest))
    return x.reshape(-1, size, *rest).sum(1, dtype=x.dtype)


def _carried(tree: Any) -> Any:
    def is_count(x: Any) -> bool:
        return isinstance(x, Count)

    return jax.tree.map(
        lambda x: x.carried() if is_count(x) else x, tree, is_leaf=is_count
    )
