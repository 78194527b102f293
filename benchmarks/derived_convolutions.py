"""Convolutions with derivatives of our own, and as XLA's: one layer at a time.

COMMAND
  python -m benchmarks.derived_convolutions                one CPU core: a minute
  python -m benchmarks.derived_convolutions small-maps     one CPU core: a minute

Measures, in one process and in turns, value and gradients of single layers: depthwise
convolutions of EfficientNet-Lite0 at 96 pixels, 64 images; or 3x3 convolutions to maps
of at most four positions, in which ResNets end where images are small.
`benchmarks.zoo` has whole networks.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax.models.networks.depthwise import depthwise_conv
from dst_jax.models.networks.small_maps import small_map_conv


class _Layer(NamedTuple):
    """A square convolution.

    Attributes:
      images: number of images.
      size: height and width of the map.
      channels: channels of the map, and of the output.
      window: height and width of the kernel.
      stride: stride along both axes.
      groups: number of groups of channels.
    """

    images: int
    size: int
    channels: int
    window: int
    stride: int
    groups: int


def _depthwise(size: int, channels: int, window: int, stride: int) -> _Layer:
    return _Layer(64, size, channels, window, stride, channels)


_LAYERS = {
    "depthwise": {
        "3x3, 32 at 48": _depthwise(48, 32, 3, 1),
        "3x3/2, 96 at 48": _depthwise(48, 96, 3, 2),
        "3x3, 144 at 24": _depthwise(24, 144, 3, 1),
        "5x5/2, 144 at 24": _depthwise(24, 144, 5, 2),
        "5x5, 240 at 12": _depthwise(12, 240, 5, 1),
        "5x5, 672 at 6": _depthwise(6, 672, 5, 1),
        "5x5, 1152 at 3": _depthwise(3, 1152, 5, 1),
    },
    "small-maps": {
        "3x3, 128 at 1": _Layer(128, 1, 128, 3, 1, 1),
        "3x3, 64 at 2": _Layer(128, 2, 64, 3, 1, 1),
        "3x3, 128 at 2": _Layer(128, 2, 128, 3, 1, 1),
        "3x3, 512 at 2": _Layer(32, 2, 512, 3, 1, 1),
        "3x3/2, 128 at 4": _Layer(128, 4, 128, 3, 2, 1),
    },
}
_CONVOLUTIONS: dict[str, tuple[Callable[..., jax.Array], str]] = {
    "depthwise": (depthwise_conv, "sums"),
    "small-maps": (small_map_conv, "products"),
}


def main(
    kind: tyro.conf.Positional[Literal["depthwise", "small-maps"]] = "depthwise",
    rounds: int = 5,
    processor: bool = False,
) -> None:
    """Prints the ratios.

    Args:
      kind: which layers.
      rounds: number of times that every variant is timed.
      processor: Whether to take seconds of processor, where other work shares it.
    """
    convolution, option = _CONVOLUTIONS[kind]
    variants = {
        f"{name}, {own}": _calls(layer, partial(convolution, **{option: own == option}))
        for name, layer in _LAYERS[kind].items()
        for own in (option, "convolution")
    }
    pairs = {
        f"{option} / convolution, {name}": (f"{name}, {option}", f"{name}, convolution")
        for name in _LAYERS[kind]
    }
    clock = time.process_time if processor else time.perf_counter
    seconds = interleaved(variants, rounds=rounds, clock=clock)
    show(f"Value and gradients, {jax.devices()[0].device_kind}", seconds, pairs)


def _calls(layer: _Layer, convolution: Callable[..., jax.Array]) -> Any:
    x = jax.random.normal(
        jax.random.key(0), (layer.images, layer.size, layer.size, layer.channels)
    )
    inputs = layer.channels // layer.groups
    shape = (layer.window, layer.window, inputs, layer.channels)
    kernel = jax.random.normal(jax.random.key(1), shape)
    convolve = partial(
        convolution,
        strides=(layer.stride, layer.stride),
        padding=[(layer.window // 2, layer.window // 2)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=layer.groups,
    )
    y = jax.random.normal(jax.random.key(2), jax.eval_shape(convolve, x, kernel).shape)

    @jax.jit
    def call(x: jax.Array, kernel: jax.Array, y: jax.Array) -> Any:
        out, pull = jax.vjp(convolve, x, kernel)
        return out, pull(y)

    return lambda: call(x, kernel, y)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
