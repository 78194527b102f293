"""Depthwise convolutions: trained as sums of shifted maps, and as XLA's.

COMMAND
  python -m benchmarks.depthwise          one CPU core: a minute

Measures, in one process and in turns, value and gradients of layers of
EfficientNet-Lite0 at 96 pixels, 64 images. `benchmarks.zoo` has whole networks.
"""

import time
from functools import partial
from typing import Any

import jax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax.models.networks.depthwise import depthwise_conv

# Height and width of the map, channels, size and stride of the window.
_LAYERS = {
    "3x3, 32 at 48": (48, 32, 3, 1),
    "3x3/2, 96 at 48": (48, 96, 3, 2),
    "3x3, 144 at 24": (24, 144, 3, 1),
    "5x5/2, 144 at 24": (24, 144, 5, 2),
    "5x5, 240 at 12": (12, 240, 5, 1),
    "5x5, 672 at 6": (6, 672, 5, 1),
    "5x5, 1152 at 3": (3, 1152, 5, 1),
}


def main(rounds: int = 5, processor: bool = False) -> None:
    """Prints the ratios.

    Args:
      rounds: number of times that every variant is timed.
      processor: Whether to take seconds of processor, where other work shares it.
    """
    variants = {
        f"{kind} {name}": _layer(name, kind == "sums")
        for name in _LAYERS
        for kind in ("sums", "convolution")
    }
    pairs = {
        f"sums / convolution, {name}": (f"sums {name}", f"convolution {name}")
        for name in _LAYERS
    }
    clock = time.process_time if processor else time.perf_counter
    seconds = interleaved(variants, rounds=rounds, clock=clock)
    show(f"Value and gradients, {jax.devices()[0].device_kind}", seconds, pairs)


def _layer(name: str, sums: bool) -> Any:
    size, channels, window, stride = _LAYERS[name]
    x = jax.random.normal(jax.random.key(0), (64, size, size, channels))
    kernel = jax.random.normal(jax.random.key(1), (window, window, 1, channels))
    convolve = partial(
        depthwise_conv,
        strides=(stride, stride),
        padding=[(window // 2, window // 2)] * 2,
        sums=sums,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
    y = jax.random.normal(jax.random.key(2), jax.eval_shape(convolve, x, kernel).shape)

    @jax.jit
    def call(x: jax.Array, kernel: jax.Array, y: jax.Array) -> Any:
        out, pull = jax.vjp(convolve, x, kernel)
        return out, pull(y)

    return lambda: call(x, kernel, y)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
