"""The frame of every method: an Optax transform around an inner optimizer.

    gradients -> [method: which the inner optimizer sees] -> inner optimizer
              -> every so many steps [method: the new mask]
              -> updates after which pruned weights are exactly 0, and statistics of
                 pruned weights as at init, so that a regrown weight starts anew

A method (`protocol.Method`) says what the first mask is, when it changes and how. The
mask, the method's memory and the inner state live in one `SparseState`.
"""

from collections.abc import Mapping

import jax
import optax

from dst_jax.kernels import Kernel
from dst_jax.pruning import packing
from dst_jax.pruning.frame import Frame
from dst_jax.pruning.protocol import Method
from dst_jax.typing import Mask, Rules

__all__ = ["sparsify"]


def sparsify(
    inner: optax.GradientTransformation,
    method: Method,
    *,
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
    mask: Mask = None,
    seed: jax.typing.ArrayLike = 0,
    track: bool = False,
    packed: bool = False,
    skip_update: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """An optimizer with a method's masks; every method takes these options.

    `optax.MultiSteps` goes around it: only real steps count then. Layers that the first
    mask prunes whole are named in a warning of `logging`, unless JAX traces `init`.

    Args:
      inner: any Optax optimizer; its state is wrapped.
      method: what chooses masks.
      rules: rules for the leaves that are prunable, as in `masks.prunable`.
      kernels: kernels of the parameters, as in `masks.prunable`: a stack is its layers
        apart, and inputs are the contracted axes. None = by name.
      mask: first mask in place of the method's, `None` leaves are never pruned.
      seed: seed of the method's random choices, in [0, 2**32); may be traced. The
        members of an ensemble under `jax.vmap` share all random choices unless the seed
        is vmapped too: `jax.vmap(lambda p, s: rigl(inner, seed=s, ...).init(p))(params,
        seeds)`, and likewise around `update`.
      track: whether to remember which weights were ever active (`statistics`).
      packed: whether masks take a bit instead of a byte per weight in the state.
      skip_update: whether a mask update takes the place of the optimizer's step, as in
        RigL's code. Off, no step is lost.

    Returns:
      A transform; `update` needs `params`.

    Raises:
      TypeError: `inner` is not an Optax transform.
      ValueError: an option is out of range; at `init`, nothing is prunable, `mask` or
        `kernels` do not fit, or `inner` holds a `MultiSteps`; at `update`, the path
        names of the arguments differ from those at `init`.

    >>> import jax.numpy as jnp
    >>> every_other = Method(lambda layers, key: jax.tree.map(
    ...     lambda w: (jnp.arange(w.size) % 2 == 0).reshape(w.shape), layers))
    >>> tx = sparsify(optax.sgd(0.1), every_other)
    >>> tx.init({"kernel": jnp.ones((2, 2))}).held.mask["kernel"].tolist()
    [[True, False], [True, False]]
    """
    if not (hasattr(inner, "init") and hasattr(inner, "update")):
        raise TypeError(f"inner must be an Optax transform, got {inner!r}")
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise ValueError(f"seed must be in [0, 2**32), got {seed}")
    frame = Frame(
        inner=optax.with_extra_args_support(inner),
        method=method,
        rules=rules,
        kernels=kernels,
        mask=mask,
        seed=seed,
        track=track,
        store=packing.pack if packed else lambda mask: mask,
        skip_update=skip_update,
    )
    return optax.GradientTransformationExtraArgs(frame.init, frame.update)
