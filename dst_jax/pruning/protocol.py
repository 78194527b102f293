"""What a method of sparse training is, what it sees, and what is carried along."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import optax
from jaxtyping import Array, Bool, Int

from dst_jax.pruning import masks
from dst_jax.pruning.apply_mask import MaskState
from dst_jax.typing import Mask, Params

__all__ = ["Changes", "Method", "SparseState", "Step", "masked_gradients"]


class Step(NamedTuple):
    """What a method may look at. Trees have `None` where nothing is ever pruned."""

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


def masked_gradients(step: Step) -> Params:
    """Gradients of kept weights: momentum does not build up where nothing is."""
    return masks.apply(step.mask, step.grads)


@dataclass(frozen=True)
class Method:
    """A way to choose masks.

    Attributes:
      first: the mask at `init`, from the prunable weights and a key.
      refresh: the new mask and memory.
      due: the steps at which masks are refreshed; None = never.
      memory: what the method remembers at first, from the prunable weights and mask.
        If it is `Effective`, it says what the network computes with.
      observe: the memory after every step, due or not, from the weights before it and
        their gradients; None = unchanged.
      gradients: what the inner optimizer sees of the prunable weights' gradients.
      adjust: the weights after the optimizer's step, from those it leads to; None =
        unchanged. A weight that it sets to 0 is exactly 0.
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
    held: MaskState
    inner: optax.OptState
    memory: Any
    changes: Changes
    ever: Any
    """The weights that were active at some time; None unless tracked."""
