"""Thresholds of activation maps as variables of a network."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from dst_jax.activations.tap import KINDS, THRESHOLDS

__all__ = ["thresholds_of", "with_thresholds"]


def with_thresholds(
    variables: Mapping[str, Any],
    thresholds: Mapping[str, jax.typing.ArrayLike],
    *,
    kind: str = "hard",
) -> dict[str, Any]:
    """The variables of a network whose taps zero small entries.

    `hard` turns every ReLU with a tap into a FATReLU (`fat_relu`), `soft` shifts it
    (`soft_threshold`, the proximal activation of l1). The new thresholds replace all
    earlier ones. They are a collection like batch statistics: evaluation, counting,
    checkpoints and export include them, and a new value compiles nothing anew.

    Args:
      variables: variables of a model with taps; they are not changed.
      thresholds: thresholds >= 0 by path of the tap, which names its map in
        `apply_with_activations`; a number, or one per channel. Other maps have no
        threshold. `apply_with_activations` refuses a name that no tap has. The taps
        inside `nn.scan` or `nn.vmap` share a threshold, and read it if these have
        `variable_broadcast="thresholds"`.
      kind: kind of the thresholds: entries above them stay ("hard") or shrink by the
        threshold ("soft").

    Returns:
      A new mapping that also holds the collection `thresholds`.

    Raises:
      ValueError: `kind` is unknown.

    >>> import flax.linen as nn
    >>> from dst_jax.activations.tap import Tap
    >>> model = nn.Sequential([nn.relu, Tap()])
    >>> variables = with_thresholds({}, {"layers_1": 0.5})
    >>> model.apply(variables, jnp.array([0.25, 0.75])).tolist()
    [0.0, 0.75]
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {tuple(KINDS)}, got {kind!r}")
    flat = {
        f"{name}/{kind}": jnp.asarray(t, jnp.float32) for name, t in thresholds.items()
    }
    return {**variables, THRESHOLDS: unflatten_dict(flat, sep="/")}


def thresholds_of(variables: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The thresholds of either kind that variables hold, by name of the map.

    >>> {k: float(t) for k, t in thresholds_of(with_thresholds({}, {"r": 0.5})).items()}
    {'r': 0.5}
    """
    flat: Any = flatten_dict(dict(variables.get(THRESHOLDS, {})), sep="/")
    return {name.rpartition("/")[0]: t for name, t in flat.items()}
