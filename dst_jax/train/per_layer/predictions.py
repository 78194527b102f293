"""Loss increases without measuring them: from gradients, and by dropout."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from dst_jax import activations, checks
from dst_jax.train.context import Context
from dst_jax.train.per_layer.calibration import Calibration
from dst_jax.train.per_layer.layer_options import LayerOptions
from dst_jax.train.per_layer.map_options import MapOptions
from dst_jax.train.per_layer.option_losses import OptionLosses, mean_loss
from dst_jax.typing import Network, Params, Variables

__all__ = ["dropout_losses", "predicted_losses"]

MOST_DROPOUT = 0.95
"""Largest rate of dropout: the multiplications of a small layer would ask for more."""


def predicted_losses(
    context: Context, options: LayerOptions, examples: Calibration
) -> OptionLosses:
    """The increases that derivatives at the network as it is predict.

        mean_n s_n + 1/2 mean_n s_n^2,  s_n = d loss_n / d x . (x' - x)

    with x the weights of a layer or a map, x' those of the option, and n an example.
    The second term is the quadratic form of the empirical Fisher matrix, not of its
    diagonal alone.

    Args:
      context: the task.
      options: options of a network.
      examples: calibration examples.

    Returns:
      Increases as `option_losses` returns them. Those of maps are NaN where the model
      is no Linen module, whose maps have no gradient of their own.

    Reference:
      Theis et al. 2018 (arXiv 1801.05787), for pruning by the Fisher matrix.
    """
    network = options.network_at({}, {})
    slopes = jax.jit(lambda *args: _weight_slopes(context, network, *args))

    def of_weights(tangent: Params) -> float:
        parts = [
            slopes(dict(network.variables), tangent, x, y)
            for x, y in zip(*examples, strict=True)
        ]
        return _predicted(np.concatenate(jax.device_get(parts)))

    weights = {
        name: np.array(
            [
                np.inf if mask is None else of_weights(_change(options, name, mask))
                for mask in options.masks[name]
            ]
        )
        for name in options.masks
    }
    return OptionLosses(weights, _of_maps(context, options, network, examples))


def dropout_losses(
    context: Context,
    options: LayerOptions,
    examples: Calibration,
    multiplications: Mapping[str, float],
    *,
    rate: float = 0.1,
    trials: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """The increase of the loss where a layer drops a FLOP-matched share of its outputs.

        r_l = rate * mean_k F_k / F_l

    with F_l the multiplications of layer l, so that about as many are dropped in every
    layer. Output channels of the layer are dropped, the same ones for a batch, and the
    others divided by 1 - r_l, which is at most 0.95.

    Args:
      context: the task.
      options: options of a network.
      examples: calibration examples.
      multiplications: multiplications by layer, F.
      rate: rate of a layer with the mean number of multiplications, in [0, 1).
      trials: number of draws whose mean it is.
      seed: seed of the draws.

    Raises:
      ValueError: `rate` or `trials` is out of range.

    Reference:
      Chen et al. 2020 (CVPR, "Network Adjustment"), the FLOPs utilisation ratio. There
      the dropout is a layer of its own.
    """
    checks.fraction("rate", rate)
    checks.at_least("trials", trials, 1)
    network = options.network_at({}, {})
    start = mean_loss(context, network, examples)
    mean = float(np.mean([multiplications[name] for name in options.layers]))
    found = {}
    for name, key in zip(
        options.layers,
        jax.random.split(jax.random.key(seed), len(options.layers)),
        strict=True,
    ):
        own = min(rate * mean / max(multiplications[name], 1.0), MOST_DROPOUT)
        losses = [
            mean_loss(
                context,
                network.with_params(
                    options.with_layers(
                        {name: _dropped(options.layers[name], own, draw)}
                    )
                ),
                examples,
            )
            for draw in jax.random.split(key, trials)
        ]
        found[name] = float(np.mean(losses)) - start
    return found


def _dropped(weights: Array, rate: float, key: Key[Array, ""]) -> Array:
    kept = jax.random.bernoulli(key, 1 - rate, weights.shape[-1:])
    scale = kept.astype(weights.dtype) / (1 - rate)
    return weights * scale.reshape((1,) * (weights.ndim - 1) + (-1,))


def _change(options: LayerOptions, name: str, mask: Array) -> Params:
    """The change of the parameters with a mask for one layer."""
    w = options.layers[name]
    after = options.with_layers({name: jnp.where(mask, w, jnp.zeros_like(w))})
    return jax.tree.map(jnp.subtract, after, options.network.params)


def _predicted(slopes: Float[np.ndarray, " examples"]) -> float:
    return float(slopes.mean() + 0.5 * (slopes**2).mean())


def _per_example(context: Context, outputs: Any, labels: Array) -> Array:
    def one(output: Any, label: Array) -> Array:
        alone = jax.tree.map(lambda x: x[None], output)
        return context.task.loss(alone, label[None])

    return jax.vmap(one)(outputs, labels)


def _weight_slopes(
    context: Context,
    network: Network,
    variables: Variables,
    tangent: Params,
    x: Array,
    labels: Array,
) -> Float[Array, " examples"]:
    def losses(params: Params) -> Array:
        own = {**variables, "params": params}
        outputs = network.model(own, x, train=False, rngs=None)[0]
        return _per_example(context, outputs, labels)

    return jax.jvp(losses, (variables["params"],), (tangent,))[1]


def _of_maps(
    context: Context, options: LayerOptions, network: Network, examples: Calibration
) -> dict[str, Float[np.ndarray, " levels"]]:
    maps = options.maps
    if not maps.thresholds:
        return {}
    program = jax.jit(lambda *args: _map_slopes(context, network, maps, *args))
    parts = [
        jax.device_get(program(dict(network.variables), maps.thresholds, x, y))
        for x, y in zip(*examples, strict=True)
    ]
    return {
        name: np.array(
            [
                _predicted(np.concatenate([part[name][i] for part in parts]))
                if maps.has(name, i)
                else np.inf
                for i in range(len(maps.texts))
            ]
        )
        for name in maps.thresholds
    }


def _map_slopes(
    context: Context,
    network: Network,
    options: MapOptions,
    variables: Variables,
    thresholds: Mapping[str, tuple[Array, ...]],
    x: Array,
    labels: Array,
) -> dict[str, tuple[Array, ...]]:
    """By map, for every level, the slope of every example's loss along its change."""
    shapes = jax.eval_shape(lambda: network.model(variables, x)[1])
    zeros = {k: jnp.zeros(shapes[k].shape, shapes[k].dtype) for k in thresholds}
    seen: set[str] = set()

    def loss(added: Mapping[str, Array]) -> tuple[Array, Mapping[str, Array]]:
        def plus(name: str, own: Array) -> Array:
            seen.add(name)
            return own + added[name]

        functions = {_whole(k): lambda own, k=k: plus(k, own) for k in added}
        with activations.through(functions):
            outputs, maps, _ = network.model(variables, x, train=False, rngs=None)
        return _per_example(context, outputs, labels).sum(), maps

    slopes, maps = jax.grad(loss, has_aux=True)(zeros)
    found = {}
    for name, own in thresholds.items():
        x = maps[name]
        axes = tuple(range(1, x.ndim))
        along = [
            (slopes[name] * (y - x)).sum(axes) for y in options.changed(x, name, own)
        ]
        found[name] = tuple(
            x if name in seen else jnp.full_like(x, jnp.nan) for x in along
        )
    return found


def _whole(name: str) -> str:
    """A regex for this name alone."""
    return f"^{re.escape(name)}$"
