"""One equation bound again, its parameters adapted to what its operands hold."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core
from jaxtyping import Array

from dst_jax.channels.axis_units import Bools
from dst_jax.channels.replay.held_positions import Held, full, relaid, taken
from dst_jax.channels.rules.elementwise import ELEMENTWISE
from dst_jax.jaxprs.axis_moves import matched
from dst_jax.jaxprs.binding import bind

__all__ = ["cut", "replayed"]

Arrays = Sequence[Array]
AllHeld = Sequence[Held]


def replayed(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    """The results of an equation on the positions that are kept.

    Args:
      eqn: the equation, no call, loop or branch.
      arrays: what the operands hold.
      have: positions that are held of the operands.
      want: positions that are held of the results.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> program = jax.make_jaxpr(lambda x: x.reshape(2, 2))(jnp.ones(4))
    >>> have = [np.array([True, False, True, False])], [np.ones(2, bool)]
    >>> want = (np.ones(2, bool), np.array([True, False]))
    >>> replayed(program.eqns[0], [jnp.ones(2)], [tuple(have[0])], [want])[0].shape
    (2, 1)
    """
    name = eqn.primitive.name
    if name in ELEMENTWISE:
        return _elementwise(eqn, arrays, have, want)
    rule = RULES.get(name)
    if rule is not None:
        return rule(eqn, arrays, have, want)
    return _expanded(eqn, arrays, have, want)


def _expanded(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    """On all positions, with zeros for what is removed: right, but no smaller."""
    pairs = zip(arrays, have, strict=True)
    whole = [relaid(a, h, full([m.size for m in h])) for a, h in pairs]
    results = bind(eqn, whole)
    return [cut(a, w) for a, w in zip(results, want, strict=True)]


def cut(array: Array, want: Held) -> Array:
    """The positions of a whole array that are kept.

    >>> import jax.numpy as jnp
    >>> cut(jnp.arange(3), (np.array([True, False, True]),)).tolist()
    [0, 2]
    """
    return relaid(array, full(array.shape), want)


def _shape(has: Held) -> tuple[int, ...]:
    return tuple(int(mask.sum()) for mask in has)


def _elementwise(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    (result,) = want
    operands = []
    for array, has in zip(arrays, have, strict=True):
        fitting = tuple(
            own if own.size != other.size else other
            for own, other in zip(has, result, strict=bool(has))
        )
        operands.append(relaid(array, has, fitting))
    return bind(eqn, operands)


def _same(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    """Operations whose parameters do not depend on the sizes of axes that shrink."""
    del have, want
    return bind(eqn, arrays)


def _broadcast_in_dim(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    del have
    return bind(eqn, arrays, shape=_shape(want[0]))


def _reshape(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    """As it stands where the runs of merged and split axes hold the same positions."""
    before, after = have[0], want[0]
    sizes = [[mask.size for mask in has] for has in (before, after)]
    for old, new in matched(*sizes):
        if not np.array_equal(_outer(before[old]), _outer(after[new])):
            return _expanded(eqn, arrays, have, want)
    return bind(eqn, arrays, new_sizes=_shape(after))


def _outer(masks: Sequence[Bools]) -> Bools:
    """The positions of the merged axis that are held."""
    product = np.ones((), bool)
    for mask in masks:
        product = product[..., None] & mask
    return product.ravel()


def _slice(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    (x,), (has,) = arrays, have
    starts, limits = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or (1,) * len(has)
    for axis, along in enumerate(zip(starts, limits, strides, strict=True)):
        x = _picked(x, axis, has[axis], np.arange(*along), want[0][axis])
    return [x]


def _picked(x: Array, axis: int, has: Bools, at: Any, wants: Bools) -> Array:
    """Positions `at` of the original axis, of which those that `wants` names."""
    number = np.where(has, np.cumsum(has) - 1, -1)
    return taken(x, axis, number[at][wants])


def _split(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    axis = eqn.params["axis"]
    held = [int(has[axis].sum()) for has in want]
    whole = have[0][axis]
    if sum(held) != whole.sum():
        return _expanded(eqn, arrays, have, want)
    return bind(eqn, arrays, sizes=tuple(held))


def _concatenate(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    axis, (result,) = eqn.params["dimension"], want
    ends = np.cumsum([has[axis].size for has in have])
    parts = []
    for array, has, end in zip(arrays, have, ends, strict=True):
        own = result[axis][end - has[axis].size : end]
        target = tuple(own if i == axis else mask for i, mask in enumerate(result))
        parts.append(relaid(array, has, target))
    return bind(eqn, parts)


def _stack(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    axis, (result,) = eqn.params["axis"], want
    target = (*result[:axis], *result[axis + 1 :])
    return bind(eqn, [relaid(a, h, target) for a, h in zip(arrays, have, strict=True)])


def _pad(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    """Edges stay as wide as they are; cut or widened axes must hold all positions."""
    for mask, (low, high, inside) in zip(
        have[0], eqn.params["padding_config"], strict=True
    ):
        if not mask.all() and (low < 0 or high < 0 or inside):
            return _expanded(eqn, arrays, have, want)
    return bind(eqn, arrays)


def _gather(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    del want
    sizes = tuple(
        int(mask.sum()) if size == mask.size else size
        for size, mask in zip(eqn.params["slice_sizes"], have[0], strict=True)
    )
    return bind(eqn, arrays, slice_sizes=sizes)


def _dynamic_slice(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    del have
    return bind(eqn, arrays, slice_sizes=_shape(want[0]))


def _dynamic_update_slice(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    x, update, *starts = arrays
    (result,) = want
    target = tuple(
        own if own.size != other.size else other
        for own, other in zip(have[1], result, strict=True)
    )
    operands = [relaid(x, have[0], result), relaid(update, have[1], target)]
    return bind(eqn, [*operands, *starts])


def _dot_general(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    """Pairs of axes hold the positions that both of them hold."""
    del want
    contracted, batch = eqn.params["dimension_numbers"]
    targets = [list(has) for has in have]
    for left, right in (contracted, batch):
        for i, j in zip(left, right, strict=True):
            targets[0][i] = targets[1][j] = have[0][i] & have[1][j]
    operands = [
        relaid(array, has, tuple(target))
        for array, has, target in zip(arrays, have, targets, strict=True)
    ]
    return bind(eqn, operands)


def _convolution(
    eqn: core.JaxprEqn, arrays: Arrays, have: AllHeld, want: AllHeld
) -> list[Array]:
    numbers = eqn.params["dimension_numbers"]
    groups = eqn.params["feature_group_count"]
    left, right = list(have[0]), list(have[1])
    feature, read = numbers.lhs_spec[1], numbers.rhs_spec[1]
    (result,) = want
    right[numbers.rhs_spec[0]] = result[numbers.out_spec[1]]
    if groups == 1:
        left[feature] = right[read] = have[0][feature] & have[1][read]
    elif right[read].size == 1:  # depthwise
        per = right[numbers.rhs_spec[0]].reshape(groups, -1)
        left[feature] = have[0][feature] & per.all(axis=1)
        groups = int(left[feature].sum())
    else:
        left[feature] = (have[0][feature].reshape(groups, -1) & right[read]).ravel()
        right[read] = left[feature].reshape(groups, -1)[0]
    x = relaid(arrays[0], have[0], tuple(left))
    kernel = relaid(arrays[1], have[1], tuple(right))
    return bind(eqn, [x, kernel], feature_group_count=groups)


RULES: dict[str, Callable[[core.JaxprEqn, Arrays, AllHeld, AllHeld], list[Array]]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "dot_general": _dot_general,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "stack": _stack,
}
SAME = ("argmax", "argmin", "optimization_barrier", "pmax", "pmin", "psum", "sort")
SAME += ("squeeze",)
SAME += ("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "transpose")
SAME += ("reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod")
SAME += ("reduce_sum", "reduce_xor", "reduce_window_max", "reduce_window_min")
SAME += ("reduce_window_sum", "rev")
RULES |= dict.fromkeys(SAME, _same)
