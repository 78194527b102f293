"""Max pooling: ours against Flax's, forward and backward.

COMMAND
  python -m benchmarks.pooling            two CPU cores: under a minute

Measures, in one process and in turns, the gradient of the sum of squares of the pooled
maps of LeNet5, of VGG16's first stage and of ResNet's stem, whose windows overlap.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax.models.networks.pooling import max_pool

# Shape of the map; size, stride and padding of the windows.
_MAPS = {
    "LeNet5, 28 px, 2x2": ((128, 28, 28, 6), (2, 2, 0)),
    "VGG16, 32 px, 2x2": ((32, 32, 32, 64), (2, 2, 0)),
    "ResNet, 128 px, 3x3": ((16, 64, 64, 64), (3, 2, 1)),
}


def main(rounds: int = 30) -> None:
    """Prints the ratios.

    Args:
      rounds: number of times that every variant is timed.
    """
    variants, pairs = {}, {}
    for name, (shape, (size, stride, padding)) in _MAPS.items():
        x = jax.random.normal(jax.random.key(0), shape)
        ours = partial(max_pool, size=size, stride=stride, padding=padding)
        both: Any = [(padding, padding)] * 2  # Flax annotates only strings
        flax = partial(
            nn.max_pool,
            window_shape=(size, size),
            strides=(stride, stride),
            padding=both,
        )
        variants[f"ours {name}"] = _gradient(ours, x)
        variants[f"Flax {name}"] = _gradient(flax, x)
        pairs[f"max pooling, ours / Flax, {name}"] = f"ours {name}", f"Flax {name}"
    seconds = interleaved(variants, rounds=rounds)
    show(f"Gradient of max pooling, {jax.devices()[0].device_kind}", seconds, pairs)


def _gradient(pool: Any, x: jax.Array) -> Any:
    gradient = jax.jit(jax.grad(lambda x: (pool(x) ** 2).sum()))
    return lambda: gradient(x)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
