"""The tap: a module that sows an activation map, and makes it sparse on request."""

from types import MappingProxyType
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from dst_jax.activations.n_of_m import PATTERNS, patterned
from dst_jax.activations.threshold_functions import fat_relu, soft_threshold

__all__ = ["COLLECTION", "KINDS", "PATTERNS", "THRESHOLDS", "Tap"]

COLLECTION = "activations"
THRESHOLDS = "thresholds"
"""The collection of the thresholds: `{tap: {kind: threshold}}`."""

KINDS = MappingProxyType({"hard": fat_relu, "soft": soft_threshold})


class Tap(nn.Module):
    """The identity; `apply_with_activations` collects its input.

    A tap costs nothing when nobody collects: the compiled program is the same as
    without it. The module's path names the map, so a tap is called once per pass.

    If the variables hold a threshold for the tap (`with_thresholds`), small entries of
    the map become 0 before it is collected or used; if they hold a pattern for it
    (`with_patterns`), all but N of every M channels do.

    >>> import jax.numpy as jnp
    >>> Tap(name="relu1").apply({}, jnp.ones(2)).tolist()
    [1.0, 1.0]
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns `x` (batch, ...), after its threshold and pattern if it has them."""
        for kind, sparsify in KINDS.items():
            if self.has_variable(THRESHOLDS, kind):
                x = sparsify(x, self.get_variable(THRESHOLDS, kind))
        x = patterned(x, self.variables.get(PATTERNS, {}), "/".join(self.path))
        if not self.is_initializing():  # init would return the maps as variables
            self.sow(
                COLLECTION,
                "map",
                x,
                init_fn=lambda: None,
                reduce_fn=lambda earlier, new: self._only(earlier, new),
            )
        return x

    def _only(self, earlier: Any, new: Array) -> Any:
        if earlier is not None:
            path = "/".join(self.path)
            raise ValueError(
                f"tap {path!r} was called twice in one pass; give every call its own"
                " Tap, or drop the 'activations' collection from the variables"
            )
        return new
