"""`count`: a function transformation, like `jax.grad`."""

import collections
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax.cost import naming
from dst_jax.cost.calls import opened
from dst_jax.cost.interpreter import Value, evaluate
from dst_jax.cost.roles import Role

__all__ = ["count"]


def count(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    with_output: bool = False,
) -> Callable[..., Any]:
    """A function that counts the multiplications of `fn` on its arguments, exactly.

    Every convolution and matrix product that `fn` traces is counted, also inside jit,
    remat and functions with custom derivatives: how many products there are, and how
    many have a nonzero activation, a nonzero weight, both. Elementwise products and
    linear solvers are not counted. NaN counts as nonzero.

    The weight of an operation is the operand that depends on the arguments `weights`
    and on no other; a constant is the weight beside data. If both operands depend on
    data (attention), or neither does, `by_activation` is `effectual` and `by_weight`
    is `valid`.

    Wrap it in `jax.jit`: unjitted, it runs `fn` one primitive at a time. The output is
    that of `fn`, but an operation inside a custom derivative or remat is evaluated in
    place: differentiate `fn`, not this.

    Args:
      fn: a function of arrays, or pytrees of arrays; bind other options with
        `functools.partial`. Linen, NNX, Equinox or plain jax.
      weights: positions of the arguments that hold the weights. Masks that are given
        apart are weights too.
      with_output: whether to return the output as well.

    Returns:
      A function of the arguments of `fn` that returns `dict[str, OpCounts]` in order
      of execution, or `(output, counts)`. The keys are module paths such as
      `layer1/0/conv1`, without the outermost module if all share it; operations that
      share a path have the primitive's name appended: `attn/dot_general_1`.

    Raises:
      ValueError: `weights` names no argument, or, at the call, `fn` multiplies matrices
        in a way that is not counted (scan, cond, while, Pallas, ...).

    >>> counts = count(lambda w, x: x @ w)(jnp.eye(2), jnp.ones((3, 2)))
    >>> counts["dot_general"].dense, counts["dot_general"].effectual
    (Count(12), Count(6))
    """
    positions = (weights,) if isinstance(weights, int) else tuple(weights)
    for position in positions:
        if position < 0:
            raise ValueError(f"weights must be argument positions >= 0, got {weights}")

    @functools.wraps(fn)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if positions and max(positions) >= len(args):
            raise ValueError(
                f"weights must be below the number of positional arguments, "
                f"{len(args)}, got {weights}"
            )
        closed, out = jax.make_jaxpr(fn, return_shape=True)(*args, **kwargs)
        values, operations = evaluate(opened(closed), _values(args, kwargs, positions))
        keys = naming.keys([(op.path, op.primitive) for op in operations])
        # jit sorts a dict by key, and leaves the order of an OrderedDict.
        counts = collections.OrderedDict(
            (k, op.counts) for k, op in zip(keys, operations, strict=True)
        )
        if not with_output:
            return counts
        outputs = [jnp.asarray(value.array) for value in values]
        return jax.tree.unflatten(jax.tree.structure(out), outputs), counts

    return counted


def _values(
    args: tuple[Any, ...], kwargs: dict[str, Any], weights: tuple[int, ...]
) -> list[Value]:
    """The arguments' leaves in the order of the jaxpr's invars."""

    def leaves(tree: Any, role: Role) -> list[Value]:
        return [Value(jnp.asarray(leaf), role) for leaf in jax.tree.leaves(tree)]

    values: list[Value] = []
    for i, arg in enumerate(args):
        values += leaves(arg, Role.WEIGHT if i in weights else Role.DATA)
    return values + leaves(kwargs, Role.DATA)
