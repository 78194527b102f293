"""Max pooling over disjoint windows: ours against Flax's, forward and backward.

COMMAND
  python -m benchmarks.pooling            two CPU cores: under a minute

Measures, in one process and in turns, the gradient of the sum of squares of the pooled
maps of LeNet5 and VGG16's first stage.
"""

from typing import Any

import flax.linen as nn
import jax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax.models.networks.pooling import max_pool

_MAPS = {"LeNet5, 28 px": (128, 28, 28, 6), "VGG16, 32 px": (32, 32, 32, 64)}


def main(rounds: int = 30) -> None:
    """Prints the ratios.

    Args:
      rounds: number of times that every variant is timed.
    """
    variants, pairs = {}, {}
    for name, shape in _MAPS.items():
        x = jax.random.normal(jax.random.key(0), shape)
        variants[f"ours {name}"] = _gradient(lambda x: max_pool(x, 2, stride=2), x)
        variants[f"Flax {name}"] = _gradient(
            lambda x: nn.max_pool(x, (2, 2), (2, 2)), x
        )
        pairs[f"2x2 max pooling, ours / Flax, {name}"] = (
            f"ours {name}",
            f"Flax {name}",
        )
    seconds = interleaved(variants, rounds=rounds)
    show(f"Gradient of max pooling, {jax.devices()[0].device_kind}", seconds, pairs)


def _gradient(pool: Any, x: jax.Array) -> Any:
    gradient = jax.jit(jax.grad(lambda x: (pool(x) ** 2).sum()))
    return lambda: gradient(x)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
