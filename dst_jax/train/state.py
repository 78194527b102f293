"""What training carries from step to step, and from stage to stage."""

from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from dst_jax import pruning
from dst_jax.typing import Mask, Params

__all__ = ["Model", "TrainState", "Weights", "enter", "init_weights", "weights_of"]


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
) -> TrainState:
    """The state at a stage's step 0: pruned weights are exactly 0 from the start."""
    params = weights.params
    if weights.mask is not None:
        params = pruning.masks.apply(weights.mask, params)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=weights.model_state,
        opt_state=optimizer.init(params),
        key=key,
        adaptive=adaptive,
    )


def weights_of(state: TrainState, *, masked: bool) -> Weights:
    """The network in a state, with its mask if the stage holds one."""
    mask = pruning.get_mask(state.opt_state) if masked else None
    return Weights(state.params, state.model_state, mask)
