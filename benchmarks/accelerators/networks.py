"""Layers of networks with published densities, and profiles drawn from them."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from benchmarks.accelerators.published import EYERISS_LAYERS
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.counting.synthetic import output_shape

__all__ = ["ALEXNET", "GOOGLENET", "VGG16", "Layer", "draw"]


class Layer(NamedTuple):
    """A square convolution."""

    name: str
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    density_in: float = 1.0
    density_weight: float = 1.0

    @property
    def geometry(self) -> Geometry:
        pad = (self.padding, self.padding)
        return Geometry(
            (self.stride, self.stride), (pad, pad), (1, 1), (1, 1), self.groups
        )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        channels = self.channels // self.groups
        return (self.kernel, self.kernel, channels, self.filters)

    @property
    def out(self) -> int:
        reach = self.size + 2 * self.padding - self.kernel
        return reach // self.stride + 1

    @property
    def macs(self) -> int:
        return math.prod(self.weight_shape) * self.out**2


# Zeros of the inputs as measured on the Eyeriss chip. MEMORY: the weights' densities
# are Han et al. 2015's as remembered.
_ZEROS = {row.name: row.density_in for row in EYERISS_LAYERS}

ALEXNET = [
    Layer("A1", 227, 3, 96, 11, 4, 0, 1, _ZEROS["A1"], 0.84),
    Layer("A2", 27, 96, 256, 5, 1, 2, 2, _ZEROS["A2"], 0.38),
    Layer("A3", 13, 256, 384, 3, 1, 1, 1, _ZEROS["A3"], 0.35),
    Layer("A4", 13, 384, 384, 3, 1, 1, 2, _ZEROS["A4"], 0.37),
    Layer("A5", 13, 384, 256, 3, 1, 1, 2, _ZEROS["A5"], 0.37),
]

_VGG16 = {
    "V11": (224, 3, 64, 0.58),
    "V12": (224, 64, 64, 0.22),
    "V21": (112, 64, 128, 0.34),
    "V22": (112, 128, 128, 0.36),
    "V31": (56, 128, 256, 0.53),
    "V32": (56, 256, 256, 0.24),
    "V33": (56, 256, 256, 0.42),
    "V41": (28, 256, 512, 0.32),
    "V42": (28, 512, 512, 0.27),
    "V43": (28, 512, 512, 0.34),
    "V51": (14, 512, 512, 0.35),
    "V52": (14, 512, 512, 0.29),
    "V53": (14, 512, 512, 0.36),
}
VGG16 = [
    Layer(name, size, c, k, 3, 1, 1, 1, _ZEROS[name], density)
    for name, (size, c, k, density) in _VGG16.items()
]

# size, channels, and filters of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
_INCEPTION = {
    "3a": (28, 192, 64, 96, 128, 16, 32, 32),
    "3b": (28, 256, 128, 128, 192, 32, 96, 64),
    "4a": (14, 480, 192, 96, 208, 16, 48, 64),
    "4b": (14, 512, 160, 112, 224, 24, 64, 64),
    "4c": (14, 512, 128, 128, 256, 24, 64, 64),
    "4d": (14, 512, 112, 144, 288, 32, 64, 64),
    "4e": (14, 528, 256, 160, 320, 32, 128, 128),
    "5a": (7, 832, 256, 160, 320, 32, 128, 128),
    "5b": (7, 832, 384, 192, 384, 48, 128, 128),
}
GOOGLENET = [
    Layer(f"{module}/{name}", size, channels, filters, kernel, 1, kernel // 2)
    for module, (size, c, f1, r3, f3, r5, f5, pool) in _INCEPTION.items()
    for name, kernel, channels, filters in (
        ("1x1", 1, c, f1),
        ("3x3_reduce", 1, c, r3),
        ("3x3", 3, r3, f3),
        ("5x5_reduce", 1, c, r5),
        ("5x5", 5, r5, f5),
        ("pool", 1, c, pool),
    )
]


def draw(
    layer: Layer,
    rng: np.random.Generator,
    *,
    density_in: float | None = None,
    density_weight: float | None = None,
    spread: float = 0.0,
    batch: int = 1,
) -> OpProfile:
    """A profile with independent zeros, at the layer's densities or others.

    `spread` is the standard deviation of the filters' densities over their mean.
    """
    d_in = layer.density_in if density_in is None else density_in
    d_w = layer.density_weight if density_weight is None else density_weight
    per_filter = d_w * (1 + spread * rng.standard_normal(layer.filters))
    shape = (batch, layer.size, layer.size, layer.channels)
    out = output_shape(layer.geometry, shape, layer.weight_shape)
    return OpProfile(
        activation=jnp.asarray(rng.random(shape, np.float32) < d_in),
        weight=jnp.asarray(rng.random(layer.weight_shape, np.float32) < per_filter),
        output=jnp.ones(out, bool),
        geometry=layer.geometry,
    )
