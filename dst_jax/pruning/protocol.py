"""What a method is: functions of a step; and the state around it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import optax
from jaxtyping import Array, Bool, Int

from dst_jax.pruning import masks
from dst_jax.pruning.layer_layout import LayerLayout
from dst_jax.typing import Mask, Params

__all__ = ["Changes", "Method", "SparseState", "Step", "masked_gradients"]


class Step(NamedTuple):
    """What a method sees: trees of layers, with `None` where nothing is ever pruned.

    Every layer has the axes (*window, inputs, outputs). Where no kernel has other axes
    or holds several layers, the trees are shaped like the parameters; otherwise they
    are dicts by path name, with a number behind the name for the layers of a stack.
    """

    params: Params
    """Weights; for a mask update those after the optimizer's step."""
    grads: Params
    """Dense: also of pruned weights."""
    mask: Mask
    step: Int[Array, ""]
    """1 for the first optimizer step."""
    key: Array
    """A random key of this step's own."""
    memory: Any
    network: Callable[[], Params] = dict
    """All parameters as they are, those that are never pruned too; for a mask update
    those after the optimizer's step. A function, as few methods ask."""
    layout: LayerLayout = LayerLayout()
    """How layers are made of them."""


def masked_gradients(step: Step) -> Params:
    """The gradients of kept weights, so that pruned ones build up no momentum.

    >>> import jax.numpy as jnp
    >>> mask, grads = {"w": jnp.array([True, False])}, {"w": jnp.ones(2)}
    >>> masked_gradients(Step(None, grads, mask, None, None, None))["w"].tolist()
    [1.0, 0.0]
    """
    return masks.apply(step.mask, step.grads)


@dataclass(frozen=True)
class Method:
    """A way to choose masks, of layers (*window, inputs, outputs).

    Attributes:
      first: function of the prunable layers and a key; the mask at `init`.
      refresh: function of a `Step`; the new mask and memory.
      due: function of the step; whether masks are refreshed. None = never.
      memory: function of the prunable layers and their mask; what the method remembers
        at first. If it is `Effective`, it says what the network computes with.
      observe: function of the `Step` before the optimizer's; the memory after every
        step, due or not. None = unchanged.
      gradients: function of the `Step`; the gradients of prunable layers that the inner
        optimizer sees.
      adjust: function of the `Step` after the optimizer's; the weights in place of
        those it leads to. A weight set to 0 is exactly 0. None = unchanged.
      holds: whether pruned weights are held at 0. If not, `params` are the dense
        weights that training goes on with, and the network computes with
        `sparse_params(params, opt_state)`.
    """

    first: Callable[[Params, Array], Mask]
    refresh: Callable[[Step], tuple[Mask, Any]] = lambda step: (step.mask, step.memory)
    due: Callable[[Int[Array, ""]], Bool[Array, ""]] | None = None
    memory: Callable[[Params, Mask], Any] = lambda params, mask: ()
    observe: Callable[[Step], Any] | None = None
    gradients: Callable[[Step], Params] = masked_gradients
    adjust: Callable[[Step], Params] | None = None
    holds: bool = True


class Changes(NamedTuple):
    """What the last mask update did, in weights; trees of int32 scalars by layer."""

    dropped: Any
    grown: Any


class SparseState(NamedTuple):
    """The state of every method."""

    step: Int[Array, ""]
    key: Array
    held: Any
    """The `MaskState`."""
    inner: optax.OptState
    memory: Any
    changes: Changes
    ever: Any
    """The weights that were active at some time; None unless tracked."""
