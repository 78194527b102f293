"""Constrained l0: random gates on weights, under a constraint on their number."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from dst_jax import checks, trees
from dst_jax.pruning import hard_concrete, schedules, scores
from dst_jax.pruning.auxiliary_params import Learned, descend, learned
from dst_jax.pruning.description import method
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.structures import Structure, unstructured
from dst_jax.pruning.updates import LayerOrGlobal
from dst_jax.typing import Mask, Params, concrete, is_traced

__all__ = ["Gates", "constrained_l0"]

_SGD = optax.sgd(6.0)


class Gates(NamedTuple):
    """Gates of every layer: one for each weight, channel or block."""

    log_alpha: Learned
    sample: Any
    """The gates of the next forward pass, in [0, 1]."""
    multiplier: Any
    """A float32 scalar for every layer."""
    scale: Any
    """Float32 scalar: the factor that the weights count with."""

    def effective(self, mask: Mask, params: Params) -> Params:
        """The weights `scale w z`, 0 where `mask` is false."""

        def gate(m: Any, w: Any, z: Any) -> Any:
            if m is None:
                return w
            factor = self.scale * _expand(jnp.asarray(z), w.shape)
            return jnp.where(m, w * factor, 0).astype(w.dtype)

        return jax.tree.map(gate, mask, params, self.sample, is_leaf=trees.is_none)


@method(lengths={"end": 1.0}, ends=["end"], structures="units")
def constrained_l0(
    *,
    sparsity: Any,
    end: Any,
    scope: LayerOrGlobal = "layer",
    structure: Structure | None = None,
    gates: optax.GradientTransformation = _SGD,
    dual_rate: Any = 7e-4,
    restarts: bool = True,
    dropped: Any = 0.3,
    rescaled: bool = True,
) -> Method:
    """Constrained l0: learns which weights to keep, as many as expected on average.

        min_(w, phi) max_(mu >= 0)  E_z L(w z) + mu (E |z|_0 / n - (1 - sparsity))
        z = clip(1.2 sigmoid((logit u + phi) / (2/3)) - 0.1, 0, 1),  u uniform
        mu <- max(0, mu + dual_rate (E |z|_0 / n - (1 - sparsity)))
        dual restart: mu = 0 as soon as the constraint holds

    The gates `z` are drawn once per step, for the whole batch, and the mask is where
    they are not 0: take gradients at `sparse_params(params, opt_state)`, the parameters
    stay dense. The first step sees the gates' medians. After step `end`, the last of
    the paper's training, gates are at their medians and stay; evaluate then. Until then
    `sparse_params` is a random draw. What is met is the constraint on the expectation;
    the number of weights whose median gate is not 0 emerges from it.

    The constraint pulls at a gate by `mu` times its share of the weights: gates on
    single weights of large layers need larger rates than the defaults, which moved them
    little in 3,000 steps of a small MLP. At high sparsity gates that are off use up
    much of the expectation, 0.047 each, and fewer medians than the target are on.

    At first gates are active with a dropout rate of `dropped`, which makes the weights
    `w z` smaller by `1 - dropped` on average. The authors divide the initial weights by
    that number. Here the weights count `1 / (1 - dropped)` times for good and their
    gradients `1 - dropped` times: under SGD, with momentum and weight decay too, this
    is the same training. Under optimizers that normalise gradients, such as Adam, it is
    one with a learning rate `1 / (1 - dropped)` times as large.

    Not as in the authors' code: `phi` starts at `log((1 - dropped) / dropped)` without
    their noise of 0.01; biases have no gates, where the authors gate those of single
    weights and of convolutions; one `structure` holds for all layers, where theirs has
    gates on the inputs of linear layers and on the outputs of convolutions; and the
    weight decay of the inner optimizer acts on `w`, not weighted with the probability
    that its gate is active.

    Args:
      sparsity: target of the expected sparsity, in [0, 0.953): with `phi` clipped to
        log 0.01 a gate is active with a probability of at least 0.047.
      end: last step at which gates are drawn and learn.
      scope: "layer" for a constraint on every layer, "global" for one on all.
      structure: unit that has a gate, `channel` or `block`; None = single weights.
      gates: optimizer of `phi`; the paper's rate is 6.0 for CIFAR, 1.0 for ImageNet.
      dual_rate: learning rate of `mu`: 7e-4 for CIFAR; for ImageNet 3e-4 globally, 3e-5
        by layer.
      restarts: whether `mu` restarts at 0.
      dropped: initial dropout rate, in (0, 1); 0.05 for ImageNet.
      rescaled: whether weights count `1 / (1 - dropped)` times.

    Reference:
      Gallego-Posada et al. 2022 (arXiv 2208.04425) and their code
      (gallego-posada/constrained_sparsity, sparse/l0_layers.py); gates: Louizos et al.
      2018 (arXiv 1712.01312).

    >>> tx = constrained_l0(optax.sgd(0.1), sparsity=0.5, end=78_000)
    """
    _check(sparsity, end, scope, dual_rate, dropped)
    rule = _Rule(
        end=end,
        sparsity=sparsity,
        scope=scope,
        units=(structure or unstructured()).units,
        gates=gates,
        dual_rate=dual_rate,
        restarts=restarts,
        dropped=dropped,
        rescaled=rescaled,
    )
    return Method(
        first=lambda params, key: _open(params, rule.start(params, None)),
        refresh=lambda step: (_open(step.params, step.memory), step.memory),
        due=schedules.every(1, end=end, at_end=True),
        memory=rule.start,
        observe=rule.learn,
        gradients=_gated,
        holds=False,
    )


@dataclass(frozen=True)
class _Rule:
    """How gates begin and learn."""

    end: Any
    sparsity: Any
    scope: LayerOrGlobal
    units: Callable[[tuple[int, ...]], tuple[int, ...]]
    gates: optax.GradientTransformation
    dual_rate: Any
    restarts: bool
    dropped: Any
    rescaled: bool

    def start(self, params: Params, mask: Mask) -> Gates:
        """The gates at their medians."""
        del mask
        active = 1 - jnp.asarray(self.dropped, jnp.float32)
        phi = jnp.log(active / self.dropped)
        value = jax.tree.map(lambda w: jnp.full(self.units(w.shape), phi), params)
        return Gates(
            learned(self.gates, value),
            jax.tree.map(hard_concrete.gate, value),
            jax.tree.map(lambda _: jnp.zeros((), jnp.float32), params),
            1 / active if self.rescaled else jnp.ones((), jnp.float32),
        )

    def learn(self, step: Step) -> Gates:
        """The gates after a step, drawn for the next one."""
        now, wanted = step.memory, 1 - jnp.asarray(self.sparsity, jnp.float32)
        phi, shares = now.log_alpha.value, _shares(step.params, self.scope)
        slopes = jax.tree.map(
            partial(_slope, scale=now.scale),
            *(step.params, step.grads, now.sample, phi, now.multiplier, shares),
        )
        after = descend(self.gates, now.log_alpha, slopes)
        bound = hard_concrete.BOUND
        clipped = jax.tree.map(lambda a: jnp.clip(a, -bound, bound), after.value)
        multiplier = jax.tree.map(
            lambda mu, d: _ascended(mu, d - wanted, self.dual_rate, self.restarts),
            *(now.multiplier, _density(phi, shares, self.scope)),
        )
        sample = self._drawn(clipped, step)
        new = Gates(after._replace(value=clipped), sample, multiplier, now.scale)
        done = step.step > self.end
        return jax.tree.map(lambda a, b: jnp.where(done, a, b), now, new)

    def _drawn(self, phi: Params, step: Step) -> Params:
        """Random gates, and medians from the last step on."""
        last = step.step >= self.end
        return jax.tree.map(
            lambda a, u: hard_concrete.gate(a, jnp.where(last, 0.5, u)),
            *(phi, scores.random(phi, key=step.key)),
        )


def _gated(step: Step) -> Params:
    """The gradients of `w` as those of `scale w` would be, see `rescaled`."""
    return jax.tree.map(
        lambda g, z: (g * _expand(z, g.shape) / step.memory.scale).astype(g.dtype),
        *(step.grads, step.memory.sample),
    )


def _slope(
    weight: Array,
    grad: Array,
    z: Array,
    phi: Array,
    multiplier: Array,
    share: Array,
    *,
    scale: Array,
) -> Array:
    """The slope of the Lagrangian in `phi`, through the gate and the constraint."""
    expand = partial(_expand, shape=weight.shape)
    product = scale * weight.astype(jnp.float32) * grad.astype(jnp.float32)
    (of_gate,) = jax.vjp(expand, z)[1](product)
    p = hard_concrete.active_probability(phi)
    of_constraint = multiplier * share / z.size * p * (1 - p)
    return of_gate * hard_concrete.slope(z) + of_constraint


def _ascended(multiplier: Array, violation: Array, rate: Any, restarts: bool) -> Array:
    after = jnp.maximum(multiplier + rate * violation, 0)
    return jnp.where(violation <= 0, 0, after) if restarts else after


def _shares(params: Params, scope: LayerOrGlobal) -> Params:
    """The share of the weights under a constraint that each layer has."""
    total = trees.count(params)
    return jax.tree.map(
        lambda w: jnp.float32(1.0 if scope == "layer" else w.size / total), params
    )


def _density(phi: Params, shares: Params, scope: LayerOrGlobal) -> Params:
    """The expected density under every layer's constraint."""
    own = jax.tree.map(
        lambda a, s: s * hard_concrete.active_probability(a).mean(), phi, shares
    )
    if scope == "layer":
        return own
    total = jnp.stack(jax.tree.leaves(own)).sum()
    return jax.tree.map(lambda _: total, own)


def _expand(z: Array, shape: tuple[int, ...]) -> Array:
    """Gates of units, repeated for every weight."""
    for axis, (n, units) in enumerate(zip(shape, z.shape, strict=True)):
        z = z if n == units else jnp.repeat(z, n // units, axis)
    return z


def _open(params: Params, gates: Gates) -> Mask:
    return jax.tree.map(lambda w, z: _expand(z, w.shape) > 0, params, gates.sample)


def _check(
    sparsity: Any,
    end: Any,
    scope: str,
    dual_rate: Any,
    dropped: Any,
) -> None:
    checks.fraction("sparsity", sparsity)
    if not is_traced(sparsity) and 1 - concrete(sparsity) < hard_concrete.LEAST:
        raise ValueError(
            f"sparsity must be at most {1 - hard_concrete.LEAST:.3f}, where all gates"
            f" are at their bound, got {sparsity}"
        )
    checks.at_least("end", end, 1)
    checks.one_of("scope", scope, get_args(LayerOrGlobal))
    checks.at_least("dual_rate", dual_rate, 0)
    if not is_traced(dropped) and not 0 < concrete(dropped) < 1:
        raise ValueError(f"dropped must be in (0, 1), got {dropped}")
