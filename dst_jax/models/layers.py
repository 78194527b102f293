"""Layers with PyTorch's padding, statistics and initialisation."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.activations.tap import Tap

__all__ = ["batch_norm", "conv", "dense", "max_pool", "tapped_relu", "torch_uniform"]

he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for Conv and Linear."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def conv(
    features: int,
    size: int,
    *,
    name: str,
    stride: int = 1,
    padding: int = 0,
    dtype: DTypeLike | None = None,
) -> nn.Conv:
    """A square convolution without bias, padded by `padding` on every side.

    'SAME' would pad a stride-2 convolution by (0, 1) where torchvision pads (1, 1).
    """
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=[(padding, padding)] * 2,
        use_bias=False,
        dtype=dtype,
        kernel_init=he_normal_fan_out,
        name=name,
    )


def batch_norm(
    *, name: str, train: bool, dtype: DTypeLike | None = None
) -> nn.BatchNorm:
    """Batch normalisation with PyTorch's defaults (momentum 0.1 there is 0.9 here)."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        name=name,
    )


def dense(
    features: int, *, fan_in: int, name: str, dtype: DTypeLike | None = None
) -> nn.Dense:
    """A fully connected layer with PyTorch's default initialisation."""
    init = torch_uniform(fan_in)
    return nn.Dense(features, dtype=dtype, kernel_init=init, bias_init=init, name=name)


def max_pool(
    x: Float[Array, "batch height width channels"],
    size: int,
    *,
    stride: int,
    padding: int = 0,
) -> Float[Array, "batch new_height new_width channels"]:
    """The maximum over windows, padded with -inf on every side."""
    pads: Any = [(padding, padding)] * 2  # Flax's annotation knows only strings
    return nn.max_pool(x, (size, size), (stride, stride), pads)


def tapped_relu(x: Float[Array, "*shape"], *, name: str) -> Float[Array, "*shape"]:
    """ReLU, with a tap of that name on its output."""
    return Tap(name=name)(nn.relu(x))
