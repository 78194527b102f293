"""Measures EAST: training steps of a ResNet34 with its parts.

COMMAND
  python -m benchmarks.east               two CPU cores: a few minutes

Measures, in one process and in turns, a training step of a ResNet34 at 99.9 % with
each part of EAST and with all of them / a dense step: the method, in a step with and
without a mask update; DyReLUs at phase 1; blocks that share their convolutions.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax import data, models, parametrisations, pruning
from dst_jax.parametrisations import Parametrisation
from dst_jax.train import Objective, chain, make_train_step
from dst_jax.train.stages import trained_sparsity
from dst_jax.train.state import enter, init_network

PREPROCESS = partial(data.normalise, mean=(0.5,) * 3, std=(0.25,) * 3)
SHARING = parametrisations.shared(parametrisations.block_rules(owners=2))
SPARSITY = 0.999


def main(
    batch: int = 32,
    size: int = 32,
    width: float = 0.5,
    rounds: int = 11,
    processor: bool = False,
) -> None:
    """Prints the ratios.

    Args:
      batch: images per training step.
      size: height and width of these images.
      width: width of the network, over the published one.
      rounds: number of times that every variant is timed.
      processor: Whether to take seconds of processor, where other work shares it.
    """
    clock = time.process_time if processor else time.perf_counter
    rng = np.random.default_rng(0)
    inputs = {
        "image": jnp.asarray(rng.integers(0, 256, (batch, size, size, 3), np.uint8)),
        "label": jnp.asarray(rng.integers(0, 100, batch), jnp.int32),
    }
    step = partial(_training, inputs, width)
    calls = {
        "dense": step(),
        "the method": step(interval=10**6),
        "the method, with an update": step(interval=1),
        "DyReLU": step(rectifier="dyrelu"),
        "shared blocks": step(sharing=SHARING),
        "all": step(interval=10**6, rectifier="dyrelu", sharing=SHARING),
    }
    pairs = {name: (name, "dense") for name in calls if name != "dense"}
    device = jax.devices()[0].device_kind
    title = f"A step with a part of EAST / a dense step, ResNet34 x {width}, {device}"
    show(title, interleaved(calls, rounds=rounds, clock=clock), pairs)


def _training(
    inputs: Any,
    width: float,
    *,
    interval: int | None = None,
    rectifier: str = "relu",
    sharing: Parametrisation | None = None,
) -> Any:
    """A call that takes one training step more."""
    model = models.create(
        "resnet34", num_classes=100, stem="cifar", width=width, rectifier=rectifier
    )
    example = jnp.zeros((1, *inputs["image"].shape[1:]))
    network = jax.jit(partial(init_network, model))(example, jax.random.key(0))
    trained = network.params
    if sharing is not None:
        trained = jax.eval_shape(sharing.init, network.params)
    target = trained_sparsity(SPARSITY, weights=network.params, trained=trained)

    def method(inner: optax.GradientTransformation, mask: Any) -> Any:
        del mask
        lengths = {"interval": interval, "period": 10**6, "end": 10**7}
        return pruning.east(inner, sparsity=target, **lengths)

    optimizer = chain(0.01, sparsify=method if interval else None)
    step = make_train_step(
        network.model, optimizer, preprocess=PREPROCESS, parametrisation=sharing
    )
    build = partial(enter, optimizer=optimizer, parametrisation=sharing)
    carried = [jax.jit(lambda n: build(n, key=jax.random.key(1)))(network)]
    objective = Objective()

    def call() -> object:
        state, metrics = step(carried.pop(), inputs, objective)
        carried.append(state)
        return metrics

    return call


if __name__ == "__main__":
    tyro.cli(main)
