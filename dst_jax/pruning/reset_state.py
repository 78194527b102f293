"""Resets the optimizer statistics of selected weights."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dst_jax.typing import Mask

__all__ = ["reset_where"]


def reset_where(state: optax.OptState, fresh: optax.OptState, chosen: Mask) -> Any:
    """An optimizer state with the chosen weights' statistics as they are at `init`.

    A leaf of the state belongs to a parameter if its path ends in the parameter's path
    and its last axes have the parameter's shape: true of moments, velocities, averages
    and memories of past gradients of any Optax optimizer, also inside `chain`,
    `masked`, `multi_transform` or `inject_hyperparams`. (`optax.tree_map_params` sees
    the same leaves but fails on `lbfgs` and misses what `muon` keeps for matrices.)
    Statistics shared by many weights, as Adafactor's rows and columns are, stay.

    Args:
      state: state of the inner optimizer.
      fresh: state that its `init` returns; not everything starts at 0.
      chosen: bool tree shaped like the parameters, `None` = none of the leaf.

    >>> params = {"w": jnp.zeros(2)}
    >>> tx = optax.sgd(0.1, momentum=0.9)
    >>> _, state = tx.update({"w": jnp.ones(2)}, tx.init(params))
    >>> state = reset_where(state, tx.init(params), {"w": jnp.array([True, False])})
    >>> optax.tree_utils.tree_get(state, "trace")["w"].tolist()
    [0.0, 1.0]
    """
    by_path = dict(jax.tree_util.tree_leaves_with_path(chosen))

    def reset(path: tuple[Any, ...], leaf: Any, new: Any) -> Any:
        for start in range(len(path) + 1):  # the longest ending first
            if path[start:] in by_path:
                return _where(by_path[path[start:]], leaf, new)
        return leaf

    return jax.tree_util.tree_map_with_path(reset, state, fresh)


def _where(chosen: jax.Array, leaf: Any, new: Any) -> Any:
    extra = jnp.ndim(leaf) - chosen.ndim
    if extra < 0 or jnp.shape(leaf)[extra:] != chosen.shape:
        return leaf
    aligned = chosen.reshape((1,) * extra + chosen.shape)
    return jnp.where(aligned, new, leaf).astype(leaf.dtype)
