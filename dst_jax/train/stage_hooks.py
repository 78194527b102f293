"""What a stage's entry and exit make of a network, or of its shapes."""

from functools import partial

import jax

from dst_jax.train.context import Context
from dst_jax.train.sharding import abstract_like
from dst_jax.train.stage import Hook, accepted
from dst_jax.typing import Network

__all__ = ["abstract_hook", "apply_hook", "rehearsed_hook"]

_VALUES_NEEDED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What JAX raises where a shape or a branch depends on values."""


def apply_hook(hook: Hook | None, network: Network, context: Context) -> Network:
    """What a stage's entry or exit makes of a network.

    Jitted where it can be; where shapes depend on values, as when channels are removed,
    it is called as it is.
    """
    if hook is None:
        return network
    call = partial(hook, **accepted(hook, context=context))
    if abstract_hook(hook, abstract_like(network, context.sharding), context) is None:
        return jax.device_put(call(network), context.sharding)
    return jax.jit(call, out_shardings=context.sharding)(network)


def abstract_hook(
    hook: Hook | None, network: Network, context: Context
) -> Network | None:
    """The shapes that a hook makes of shapes; None if they depend on values."""
    if hook is None:
        return network
    call = partial(hook, **accepted(hook, context=context))
    try:
        found = jax.eval_shape(call, network)
    except _VALUES_NEEDED:
        return None
    return abstract_like(found, context.sharding)


def rehearsed_hook(
    hook: Hook | None, network: Network, context: Context
) -> Network | None:
    """The shapes of a network such as a hook hands on, with which to check options.

    They are those of `abstract_hook`; a hook whose shapes depend on values may have a
    method `rehearse(network, *, context)` that says which are to be expected.
    """
    rehearse = getattr(hook, "rehearse", None)
    if rehearse is None:
        return abstract_hook(hook, network, context)
    return abstract_like(rehearse(network, context=context), context.sharding)
