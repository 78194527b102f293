"""The masks in an optimizer state, and the Optax wrappers that would undo them."""

from collections import OrderedDict
from typing import Any

import jax
import optax

from dst_jax import trees
from dst_jax.pruning import packing
from dst_jax.pruning.layer_layout import LayerLayout
from dst_jax.pruning.mask_state import MaskState
from dst_jax.pruning.protocol import SparseState
from dst_jax.typing import Mask

__all__ = ["held", "holders", "refuse_inside", "unpacked"]

_INSIDE = "put the method around it, pruning.rigl({}(...), ...)"
_AROUND: dict[type, tuple[str, str]] = {
    optax.LookaheadState: (
        "optax.lookahead",
        "its slow weights bring pruned ones back. Leave it out, or take"
        " optax.contrib.schedule_free inside of the method",
    ),
    optax.contrib.ScheduleFreeState: (
        "optax.contrib.schedule_free",
        _INSIDE.format("optax.contrib.schedule_free"),
    ),
    optax.contrib.MechanicState: (
        "optax.contrib.mechanize",
        _INSIDE.format("optax.contrib.mechanize"),
    ),
    optax.contrib.SAMState: (
        "optax.contrib.sam",
        "its adversarial steps move pruned weights. Set opaque_mode=True",
    ),
}
"""Wrappers that change the updates of what they wrap, by their state."""

_ONLOOKERS = (optax.MonitorState, optax.SnapshotState)


def held(opt_state: optax.OptState) -> tuple[Mask, LayerLayout]:
    """The mask in a state, unpacked, and its layout.

    Several methods may hold a mask, of different leaves: `optax.partition` has them.

    Args:
      opt_state: state of any chain whose last link holds a mask.

    Raises:
      ValueError: there is no mask in it, two of one leaf, or the mask is in a wrapper
        or under a link of a chain that would move pruned weights.

    >>> from dst_jax.pruning.apply_mask import apply_mask
    >>> import jax.numpy as jnp
    >>> held(apply_mask({"w": jnp.array([True])}).init({"w": jnp.ones(1)}))
    ({'w': Array([ True], dtype=bool)}, LayerLayout(kernels=()))
    """
    found = holders(opt_state)
    states = [
        state.held if isinstance(state, SparseState) else state for state in found
    ]
    whole, kernels, seen = None, (), set()
    for state in states:
        mask = unpacked(state)
        names = trees.named_leaves(mask).keys()
        if both := sorted(names & seen):
            raise ValueError(
                f"opt_state must hold one mask of every leaf, found two of {both}"
            )
        seen |= names
        whole, kernels = _merged(whole, mask), kernels + state.layout.kernels
    return whole, LayerLayout(kernels)


def holders(opt_state: optax.OptState) -> list[Any]:
    """The states that hold masks: of methods, and of `apply_mask`.

    Args:
      opt_state: state of any chain whose last link holds a mask.

    Raises:
      ValueError: there is none, or a wrapper or link would move pruned weights.

    >>> holders(optax.sgd(0.1).init({}))
    Traceback (most recent call last):
    ValueError: opt_state must hold one mask, found 0
    """
    found = trees.instances(opt_state, (SparseState, MaskState))
    if not found:
        raise ValueError("opt_state must hold one mask, found 0")
    for kind, (name, remedy) in _AROUND.items():
        for state in trees.instances(opt_state, kind):
            opaque = isinstance(state, optax.contrib.SAMState) and state.cache is None
            if _masks(state) and not opaque:
                raise ValueError(f"{name} must not be around a mask: {remedy}")
    _refuse_links_after(opt_state)
    return found


def refuse_inside(params: Any, inner_state: optax.OptState) -> None:
    """Refuses wrappers that cannot be inside of a method.

    Args:
      params: parameters that the method is initialised with.
      inner_state: state of the optimizer inside.

    Raises:
      ValueError: the optimizer holds `MultiSteps` or is a `lookahead`.

    >>> refuse_inside({}, optax.sgd(0.1).init({}))
    """
    if trees.instances(inner_state, optax.MultiStepsState):
        raise ValueError(
            "inner must not hold optax.MultiSteps, whose small steps would be counted:"
            " wrap MultiSteps around the whole transform"
        )
    lookahead = trees.instances(inner_state, optax.LookaheadState)
    if lookahead or isinstance(params, optax.LookaheadParams):
        raise ValueError(
            "inner must not be optax.lookahead, which has two sets of weights: leave it"
            " out, or take optax.contrib.schedule_free"
        )


def unpacked(state: MaskState) -> Mask:
    """The mask in a state, `None` where another part of a `partition` has the leaf.

    Args:
      state: state that holds a mask.

    >>> unpacked(MaskState({"w": optax.MaskedNode()}))
    {'w': None}
    """
    return jax.tree.map(
        lambda m: None if _is_elsewhere(m) else m,
        packing.unpack(state.mask),
        is_leaf=_is_elsewhere,
    )


def _masks(state: Any) -> list[Any]:
    return trees.instances(state, MaskState)


def _is_elsewhere(x: object) -> bool:
    return isinstance(x, optax.MaskedNode)


def _refuse_links_after(state: Any) -> None:
    """Refuses links of a chain behind the mask; those without a state go unnoticed."""
    if isinstance(state, SparseState | MaskState) or not _masks(state):
        return
    parts = jax.tree.leaves(state, is_leaf=lambda x: x is not state)
    if type(state) in (tuple, OrderedDict):  # the states of chain and named_chain
        first = next(i for i, part in enumerate(parts) if _masks(part))
        after = [
            part
            for part in parts[first + 1 :]
            if jax.tree.leaves(part)
            and not (isinstance(part, _ONLOOKERS) or _masks(part))
        ]
        if after:
            raise ValueError(
                f"a mask must be in the last link of a chain, but {type(after[0])} is"
                " the state of one after it"
            )
    for part in parts:
        _refuse_links_after(part)


def _merged(a: Any, b: Any) -> Any:
    """Two masks of different leaves as one."""
    if a is None or b is None:
        return b if a is None else a
    parts, structure = jax.tree.flatten(a, is_leaf=lambda x: x is not a)
    others = jax.tree.leaves(b, is_leaf=lambda x: x is not b)
    pairs = zip(parts, others, strict=True)
    return structure.unflatten([_merged(one, other) for one, other in pairs])
