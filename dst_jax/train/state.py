"""What training carries from step to step, and from stage to stage."""

from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from dst_jax import pruning
from dst_jax.typing import Mask, Params

__all__ = [
    "Model",
    "TrainState",
    "Weights",
    "enter",
    "has_method",
    "init_weights",
    "is_masked",
    "weights_of",
]


Model = nn.Module
"""A Linen module, `(x, *, train) -> logits`."""


class Weights(NamedTuple):
    """A network as one stage hands it to the next."""

    params: Params
    model_state: Any
    """Other variable collections, for instance `{"batch_stats": ...}`."""
    mask: Mask
    """None while nothing has been pruned."""


@flax.struct.dataclass
class TrainState:
    """The training state: one pytree, saved whole and donated to every step."""

    step: Any
    """int32: the steps done in this stage."""
    params: Params
    model_state: Any
    opt_state: optax.OptState
    key: Any
    """Root of the stage's random keys; step `t` uses `fold_in(key, t)`."""
    adaptive: Any = None
    """Feedback to the strength of the activation penalty; None if it is constant."""


def init_weights(model: Model, example: Any, key: jax.Array) -> Weights:
    """Freshly initialised weights of a model, for inputs like `example`."""
    variables = dict(jax.jit(model.init)(key, example))
    return Weights(variables.pop("params"), variables, None)


def enter(
    weights: Weights,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    adaptive: Any = None,
    *,
    dense_weights: bool = False,
) -> TrainState:
    """The state at a stage's step 0: pruned weights are exactly 0 from the start.

    Args:
      weights: what the stage starts from.
      optimizer: of the stage; the mask may be given or of its own making.
      key: of the stage.
      adaptive: feedback to a strength, if there is any.
      dense_weights: whether pruned weights keep their values, as in `Stage`.
    """
    params = weights.params
    if weights.mask is not None and not dense_weights:
        params = pruning.masks.apply(weights.mask, params)
    opt_state = optimizer.init(params)
    if is_masked(opt_state) and not dense_weights:
        params = pruning.sparse_params(params, opt_state)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=weights.model_state,
        opt_state=opt_state,
        key=key,
        adaptive=adaptive,
    )


def is_masked(opt_state: optax.OptState) -> bool:
    """Whether an optimizer holds a mask, given to it or chosen by a method."""
    return _has(opt_state, pruning.MaskState)


def has_method(opt_state: optax.OptState) -> bool:
    """Whether an optimizer chooses masks."""
    return _has(opt_state, pruning.SparseState)


def weights_of(state: TrainState, *, dense_weights: bool = False) -> Weights:
    """The network in a state: sparse, with its mask if the optimizer holds one."""
    if not is_masked(state.opt_state):
        return Weights(state.params, state.model_state, None)
    params, mask = state.params, pruning.get_mask(state.opt_state)
    if dense_weights:
        params = jax.jit(pruning.sparse_params)(params, state.opt_state)
    return Weights(params, state.model_state, mask)


def _has(opt_state: optax.OptState, kind: type) -> bool:
    def found(x: Any) -> bool:
        return isinstance(x, kind)

    return any(map(found, jax.tree.leaves(opt_state, is_leaf=found)))
