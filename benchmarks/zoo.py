"""Training steps of all networks: gradients of convolutions by our rules, and by XLA.

COMMAND
  python -m benchmarks.zoo --rounds 3     one CPU core: ten minutes

Measures value and gradients of every network of the zoo, in one process and in turns,
with 1x1 convolutions derived as matrix products and depthwise ones as sums of shifted
maps, and with XLA's derivatives of both. 16 images of 64 pixels, or of the size that
networks for small images have; 4 for the widest. Networks without such layers, or with
small ones, are the same program twice: their ratio shows the noise.
"""

import contextlib
import inspect
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import tyro
from jax import lax

from benchmarks.timing import interleaved, show
from dst_jax import models
from dst_jax.models.networks import layers

_LARGEST = 64  # pixels


def main(
    names: tuple[str, ...] = models.names(), rounds: int = 5, processor: bool = False
) -> None:
    """Prints the ratios, network by network.

    Args:
      names: networks.
      rounds: number of times that every variant is timed.
      processor: Whether to take seconds of processor, where other work shares it.
    """
    clock = time.process_time if processor else time.perf_counter
    seconds, pairs = {}, {}
    for name in names:
        variants = {f"ours {name}": _step(name)}
        with _derivatives_of_xla():
            variants[f"XLA {name}"] = _step(name)
        seconds |= interleaved(variants, rounds=rounds, clock=clock)
        pairs[name] = f"ours {name}", f"XLA {name}"
    show(f"Value and gradients, {jax.devices()[0].device_kind}", seconds, pairs)


@contextlib.contextmanager
def _derivatives_of_xla() -> Iterator[None]:
    """Convolutions of networks are JAX's own."""
    plain = lax.conv_general_dilated
    with (
        mock.patch.object(layers, "pointwise_conv", plain),
        mock.patch.object(layers, "depthwise_conv", plain),
    ):
        yield


def _step(name: str) -> Any:
    """A compiled call that computes value and gradients."""
    height, _, channels = models.task(name).image
    size = min(height, _LARGEST)
    model = models.create(name, num_classes=10)
    shape = (4 if "wide" in name else 16, size, size, channels)
    x = jax.random.normal(jax.random.key(0), shape)
    variables = model.init(jax.random.key(1), x[:1])
    modes = inspect.signature(type(model).__call__).parameters
    options: dict[str, Any] = {"train": True} if "train" in modes else {}

    def loss(params: Any) -> jax.Array:
        out, _ = model.apply(
            {**variables, "params": params},
            x,
            mutable=[kind for kind in variables if kind != "params"],
            rngs={"dropout": jax.random.key(2)},
            **options,
        )
        parts = [jnp.square(leaf).mean() for leaf in jax.tree.leaves(out)]
        return jnp.stack(parts).sum()

    step = jax.jit(jax.value_and_grad(loss)).lower(variables["params"]).compile()
    return lambda: step(variables["params"])


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
