"""What flows through the interpreter: values, and what was found at operations."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dst_jax.jaxprs.calls import Called
from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.module_paths import Path
from dst_jax.jaxprs.operand_roles import Role

__all__ = [
    "Evaluate",
    "Evaluated",
    "Operation",
    "Uncounted",
    "Value",
    "arrays_of",
    "typed",
    "values_of",
]


class Value(NamedTuple):
    """An array, and which arguments it depends on."""

    array: Any
    role: Role


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Operation:
    """One convolution or matrix product, and what a visitor found there.

    A pytree, so that it comes out of traced loops and branches.

    Attributes:
      path: path of the module.
      primitive: name of the primitive.
      counts: what was found; a pytree.
      split: axes of the mesh, inside `shard_map`, over whose devices `counts` differ.
        Every leaf of `counts` varies over all of them, in the sense of `jax.typeof`.
    """

    path: Path = dataclasses.field(metadata={"static": True})
    primitive: str = dataclasses.field(metadata={"static": True})
    counts: Any
    split: frozenset[str] = dataclasses.field(
        default=frozenset(), metadata={"static": True}
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Uncounted:
    """An operation whose multiplications cannot be counted.

    Attributes:
      primitive: name of the primitive.
      executions: number of times that it is executed: `Count` on the device, int on
        the host.
      path: module path, with the class of the outermost module in front; empty where
        the program holds none.
      reason: why it cannot be counted.

    >>> Uncounted("cholesky", Count.of(2)).executions
    Count(2)
    """

    primitive: str = dataclasses.field(metadata={"static": True})
    executions: Count | int
    path: str = dataclasses.field(default="", metadata={"static": True})
    reason: str = dataclasses.field(default="", metadata={"static": True})


# The results of a jaxpr, and its operations in the order of execution.
Evaluated = tuple[list[Value], list[Operation]]

# Evaluates a jaxpr inside an equation, with the operands that it gets there.
Evaluate = Callable[[Called, Sequence[Value]], Evaluated]


def values_of(arrays: Sequence[Any], roles: Sequence[Role]) -> list[Value]:
    """Arrays with their roles.

    >>> values_of([3.0], [Role.DATA])
    [Value(array=3.0, role=<Role.DATA: 2>)]
    """
    return [Value(array, role) for array, role in zip(arrays, roles, strict=True)]


def arrays_of(values: Sequence[Value]) -> list[Any]:
    """The arrays of values.

    >>> arrays_of([Value(3.0, Role.DATA)])
    [3.0]
    """
    return [value.array for value in values]


def typed(array: Any, aval: Any) -> Any:
    """An array of the dtype of `aval`: a literal in a jaxpr is a Python number.

    >>> typed(3, jax.typeof(jnp.ones((), jnp.bfloat16))).dtype
    dtype(bfloat16)
    """
    if getattr(array, "dtype", None) == aval.dtype:
        return array
    return jnp.asarray(array, aval.dtype)
