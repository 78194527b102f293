"""The loss: cross-entropy, a penalty on activation maps, a penalty on weights.

Every number in it (strengths, shape parameters, layer weights, smoothing) is a leaf of
a pytree and so a traced value: changing one does not compile again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from dst_jax import penalties, pruning
from dst_jax.typing import Axis, Params, Penalty

__all__ = ["Objective", "Target", "Term"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["strength", "options", "layer_weights", "warmup"],
    meta_fields=["penalty", "layers", "ramp"],
)
@dataclass(frozen=True)
class Term:
    """`strength * total(tree, penalty)`, with options and layer weights.

    Attributes:
      penalty: the penalty, `(x, *, axis, **options) -> Array`.
      strength: lambda (`alpha` in Yu & Tian 2024).
      options: the penalty's own parameters, such as `{"a": 1.0}`.
      layers: regexes over path names, first match wins.
      layer_weights: a weight for each of them, a number or an array over the elements
        of one example's map; other layers have weight 1.
      warmup: epochs over which the strength rises from 0; 0 is none.
      ramp: how it rises: "linear", or "sine", along half a period from slope 0 to slope
        0 as in ProSparse (`activations.sine_stages`).
    """

    penalty: Any
    strength: Any
    options: Any = field(default_factory=dict)
    layers: Any = ()
    layer_weights: Any = ()
    warmup: Any = 0
    ramp: Any = "linear"

    def __call__(
        self, tree: Any, *, epoch: ArrayLike = jnp.inf, batched: bool
    ) -> Float[Array, ""]:
        """The weighted penalty of all leaves, so many epochs into a stage."""
        penalty: Penalty = partial(self.penalty, **self.options)
        value = penalties.total(tree, penalty, weights=self._rules(), batched=batched)
        # At the very start 0 / 0 would be asked for where there is no warm-up.
        risen = jnp.where(
            epoch < self.warmup, epoch / jnp.maximum(self.warmup, 1e-9), 1
        )
        if self.ramp == "sine":
            risen = (1 - jnp.cos(jnp.pi * risen)) / 2
        return self.strength * risen * value

    def sparsity(self, maps: Any) -> Float[Array, ""]:
        """The share of zeros in activation maps, each weighed as its penalty is."""
        zeros = penalties.total(maps, _zeros, weights=self._rules())
        return zeros / penalties.total(maps, _elements, weights=self._rules())

    def _rules(self) -> list[tuple[str, Any]]:
        return list(zip(self.layers, self.layer_weights, strict=True))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["sparsity", "max_loss", "gain"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Target:
    """A sparsity that the strength of the activation term adapts itself to.

    See `penalties.adaptive`.

    Attributes:
      sparsity: share of zeros to reach, in [0, 1]. If the term weighs elements, each
        zero counts as much as its weight: with FLOPs-aware weights, the share of the
        multiplications by penalised activations that are saved.
      max_loss: the cross-entropy of the training batches may rise to this.
      gain: how fast the strength follows, per step and unit of sparsity missing.
    """

    sparsity: Any
    max_loss: Any
    gain: Any = 0.05


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["activation", "weight", "label_smoothing", "target"],
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
      target: of an adaptive strength, or None for a constant one.
    """

    activation: Any = None
    weight: Any = None
    label_smoothing: Any = 0.0
    prunable: Any = ()
    target: Any = None

    def start(self) -> penalties.adaptive.Adaptive | None:
        """The state of the adaptive strength before the first step; None without."""
        if self.target is None:
            return None
        return penalties.adaptive.init(self.activation.strength)

    def adapted(self, state: penalties.adaptive.Adaptive | None) -> "Objective":
        """The objective at the strength that has been reached."""
        if state is None:
            return self
        return replace(self, activation=replace(self.activation, strength=state.levels))

    def adapt(
        self,
        state: penalties.adaptive.Adaptive | None,
        measured: Mapping[str, Float[Array, ""]],
    ) -> penalties.adaptive.Adaptive | None:
        """The state after a step that measured this."""
        if state is None or self.target is None:
            return None
        return penalties.adaptive.update(
            state,
            measured["penalised_sparsity"],
            measured["cross_entropy"],
            target=self.target.sparsity,
            max_loss=self.target.max_loss,
            gain=self.target.gain,
        )

    def __call__(
        self,
        logits: Float[Array, "batch classes"],
        labels: Int[Array, "batch"],
        *,
        activations: Mapping[str, Array],
        params: Params,
        epoch: ArrayLike = jnp.inf,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The loss (a scalar, averaged over the batch), its parts and what is measured.

        Args:
          logits, labels: of the batch.
          activations: maps by name; read only if there is a term over them.
          params: read only if there is a term over weights.
          epoch: how far the stage is, for terms with a warm-up.
        """
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, logits.shape[-1]), self.label_smoothing
        )
        terms = {
            "cross_entropy": optax.softmax_cross_entropy(logits, targets).mean(),
        }
        if self.activation is not None:
            terms["activation_penalty"] = self.activation(
                activations, epoch=epoch, batched=True
            )
        if self.weight is not None:
            kernels = pruning.masks.prunable(params, self.prunable)
            terms["weight_penalty"] = self.weight(kernels, epoch=epoch, batched=False)
        measured = {}
        if self.activation is not None and self.target is not None:
            measured["penalised_sparsity"] = self.activation.sparsity(activations)
        return jnp.asarray(sum(terms.values())), terms | measured


def _zeros(x: Array, *, axis: Axis = None) -> Float[Array, "..."]:
    return (x == 0).astype(jnp.float32).sum(axis)


def _elements(x: Array, *, axis: Axis = None) -> Float[Array, "..."]:
    return jnp.ones_like(x, jnp.float32).sum(axis)
