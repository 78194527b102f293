"""Penalties as terms of a loss, whose numbers are traced."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dst_jax import checks, penalties
from dst_jax.train.accepted import accepted
from dst_jax.typing import Axis, Rules, Scalar, Schedule

__all__ = ["Target", "Term"]

_OVER = ("maps", "weights", "trained")
_RAMPS = ("linear", "sine")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["sparsity", "max_loss", "gain"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Target:
    """A sparsity that the strength of a term adapts itself to.

    See `penalties.adaptive`.

    Attributes:
      sparsity: share of zeros to reach, in [0, 1]. If the term weighs elements, each
        zero counts as much as its weight: with FLOPs-aware weights, the share of the
        multiplications by penalised activations that are saved.
      max_loss: the task's loss on the training batches may rise to this.
      gain: how fast the strength follows, per step and unit of sparsity missing.

    >>> Target(sparsity=0.9, max_loss=0.5).gain
    0.05
    """

    sparsity: Any
    max_loss: Any
    gain: Any = 0.05


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["strength", "options", "layer_weights", "warmup", "target"],
    meta_fields=["penalty", "layers", "ramp", "over", "schedule", "prunable", "name"],
)
@dataclass(frozen=True)
class Term:
    """`strength * penalty`, summed over the layers of maps or weights.

    Attributes:
      penalty: over maps and weights the penalty of a layer, `(x, *, axis, **options) ->
        Array`; over the trained tree any function of it, `(trained, **options) ->
        scalar`, which is also given `step` if it has such an argument.
      strength: the factor lambda (`alpha` in Yu & Tian 2024).
      options: the penalty's own parameters, such as `{"a": 1.0}`.
      layers: regexes over path names, first match wins.
      layer_weights: a weight for each of them, a number or an array over the elements
        of one example's map; other layers have weight 1.
      warmup: epochs over which the strength rises from 0; 0 is none.
      ramp: how it rises: "linear", or "sine", along half a period from slope 0 to slope
        0 as in ProSparse (`activations.sine_stages`).
      over: "maps", all activation maps, with the mean over the batch; "weights", the
        kernels that the network computes with; "trained", what the optimizer sees,
        which is another tree with a parametrisation.
      schedule: a further factor, a function of the stage's step; None for 1.
      prunable: `((regex, bool), ...)`: which weights a term over weights sees, as in
        `pruning.masks.prunable`.
      target: what the strength adapts itself to; None for a constant strength.
      name: what logs call its value; by default `activation_penalty`, `weight_penalty`
        or `trained_penalty`, numbered from the second on.

    >>> term = Term(penalties.l1, 0.5, layers=("relu1",), layer_weights=(2.0,))
    >>> float(term({"relu1": jnp.ones((4, 3)), "relu2": jnp.ones((4, 5))}))
    5.5
    """

    penalty: Callable[..., Array]
    strength: Any
    options: Any = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    layer_weights: Any = ()
    warmup: Any = 0
    ramp: str = "linear"
    over: str = field(default="maps", kw_only=True)
    schedule: Schedule | None = field(default=None, kw_only=True)
    prunable: Rules = field(default=(), kw_only=True)
    target: Any = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        # Sequences are part of a program, which is found again by its hash.
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "prunable", tuple(map(tuple, self.prunable)))
        _refuse_negative("strength", self.strength)
        _refuse_negative("warmup", self.warmup)
        if isinstance(self.layer_weights, tuple | list):
            for weight in self.layer_weights:
                _refuse_negative("layer_weights", weight)
        checks.one_of("over", self.over, _OVER)
        checks.one_of("ramp", self.ramp, _RAMPS)
        if self.over == "trained" and self.layers:
            raise ValueError(
                "layers are those of maps or weights; over the trained tree give"
                " partial(penalties.total, penalty=..., weights=...) as the penalty,"
                f" got layers {self.layers}"
            )
        if self.over == "trained" and self.target is not None:
            raise ValueError("a target is a sparsity of maps or weights, got 'trained'")

    def __call__(
        self,
        tree: Any,
        *,
        epoch: Scalar = jnp.inf,
        step: Scalar = 0,
        batched: bool | None = None,
    ) -> Float[Array, ""]:
        """The weighted penalty of a tree.

        Args:
          tree: maps by name, prunable weights, or the trained tree.
          epoch: how many epochs of the stage are done, for the warm-up.
          step: how many steps of the stage are done, for the schedule.
          batched: whether the leading axis is the batch; by default, of maps.
        """
        if self.over == "trained":
            options = accepted(self.penalty, step=step) | self.options
            value = self.penalty(tree, **options)
        else:
            value = penalties.total(
                tree,
                partial(self.penalty, **self.options),
                weights=self._rules(),
                batched=self.over == "maps" if batched is None else batched,
            )
        # At the very start 0 / 0 would be asked for where there is no warm-up.
        risen = jnp.where(
            epoch < self.warmup, epoch / jnp.maximum(self.warmup, 1e-9), 1
        )
        if self.ramp == "sine":
            risen = 1 - optax.cosine_decay_schedule(1.0, 1)(risen)
        if self.schedule is not None:
            risen = risen * self.schedule(step)
        return self.strength * risen * value

    def sparsity(self, tree: Any) -> Float[Array, ""]:
        """The share of zeros in maps or weights, each weighed as its penalty is."""
        total = partial(
            penalties.total, weights=self._rules(), batched=self.over == "maps"
        )
        return total(tree, _zeros) / total(tree, _elements)

    def _rules(self) -> list[tuple[str, Any]]:
        return list(zip(self.layers, self.layer_weights, strict=True))


def _refuse_negative(name: str, value: Any) -> None:
    """Refuses numbers; arrays, and what JAX puts in place of leaves, are left alone."""
    if isinstance(value, int | float):
        checks.at_least(name, value, 0)


def _zeros(x: Array, *, axis: Axis = None) -> Float[Array, "..."]:
    return (x == 0).astype(jnp.float32).sum(axis)


def _elements(x: Array, *, axis: Axis = None) -> Float[Array, "..."]:
    return jnp.ones_like(x, jnp.float32).sum(axis)
