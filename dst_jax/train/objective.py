"""The loss: cross-entropy, a penalty on activation maps, a penalty on weights.

Every number in it (strengths, shape parameters, layer weights, smoothing) is a leaf of
a pytree and so a traced value: changing one does not compile again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from dst_jax import penalties, pruning
from dst_jax.typing import Params, Penalty

__all__ = ["Objective", "Term"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["strength", "options", "layer_weights"],
    meta_fields=["penalty", "layers"],
)
@dataclass(frozen=True)
class Term:
    """`strength * total(tree, penalty)`, with options and layer weights.

    Attributes:
      penalty: the penalty, `(x, *, axis, **options) -> Array`.
      strength: lambda (`alpha` in Yu & Tian 2024).
      options: the penalty's own parameters, such as `{"a": 1.0}`.
      layers: regexes over path names, first match wins.
      layer_weights: a weight for each of them; other layers have weight 1.
    """

    penalty: Any
    strength: Any
    options: Any = field(default_factory=dict)
    layers: Any = ()
    layer_weights: Any = ()

    def __call__(self, tree: Any, *, batched: bool) -> Float[Array, ""]:
        """The weighted penalty of all leaves."""
        penalty: Penalty = partial(self.penalty, **self.options)
        rules = list(zip(self.layers, self.layer_weights, strict=True))
        value = penalties.total(tree, penalty, weights=rules, batched=batched)
        return self.strength * value


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["activation", "weight", "label_smoothing"],
    meta_fields=["prunable"],
)
@dataclass(frozen=True)
class Objective:
    """What a stage minimises.

    Attributes:
      activation: term over activation maps, or None.
      weight: term over prunable weights, or None.
      label_smoothing: in [0, 1).
      prunable: `((regex, bool), ...)`: which weights the weight term sees, as in
        `pruning.masks.prunable`.
    """

    activation: Any = None
    weight: Any = None
    label_smoothing: Any = 0.0
    prunable: Any = ()

    def __call__(
        self,
        logits: Float[Array, "batch classes"],
        labels: Int[Array, "batch"],
        *,
        activations: Mapping[str, Array],
        params: Params,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The loss (a scalar, averaged over the batch) and its parts by name."""
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, logits.shape[-1]), self.label_smoothing
        )
        parts = {
            "cross_entropy": optax.softmax_cross_entropy(logits, targets).mean(),
        }
        if self.activation is not None:
            parts["activation_penalty"] = self.activation(activations, batched=True)
        if self.weight is not None:
            kernels = pruning.masks.prunable(params, self.prunable)
            parts["weight_penalty"] = self.weight(kernels, batched=False)
        return jnp.asarray(sum(parts.values())), parts
