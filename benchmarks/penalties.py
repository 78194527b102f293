"""The cost of each penalty: a training step with it on every ReLU map / without.

COMMAND
  python -m benchmarks.penalties           two CPU cores: under a minute idle

LeNet5 on 28x28 images, in one process and in turns. Nearly all of that time is
compilation: one step per penalty. The ratio is highest where the network is cheap
for the size of its maps; LeNet5 does 60 multiplications per ReLU output, ResNet18 at
224 pixels about 790.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.timing import interleaved, show
from dst_jax import data, models, penalties
from dst_jax.train import Objective, Term, chain, make_train_step
from dst_jax.train.state import enter, init_network
from dst_jax.typing import Network

PREPROCESS = partial(data.normalise, mean=(0.5,), std=(0.25,))


def main(batch: int = 256, rounds: int = 15, names: tuple[str, ...] = ()) -> None:
    """Prints the ratios.

    Args:
      batch: number of images per step.
      rounds: number of times that every variant is timed.
      names: names of the penalties; all by default.
    """
    model = models.create("lenet5", num_classes=10)
    weights = init_network(model, jnp.zeros((1, 28, 28, 1)), jax.random.key(0))
    images = np.random.default_rng(0).integers(0, 256, (batch, 28, 28, 1), np.uint8)
    labels = jnp.arange(batch, dtype=jnp.int32) % 10
    inputs = {"image": jnp.asarray(images), "label": labels}
    variants = {"plain": _training(model, weights, inputs, Objective())}
    for name in names or penalties.names():
        objective = Objective(terms=(Term(penalties.get(name), 1e-6),))
        variants[name] = _training(model, weights, inputs, objective)
    seconds = interleaved(variants, rounds=rounds)
    show(
        f"training step, LeNet5, batch {batch}, {jax.devices()[0].device_kind}",
        seconds,
        {name: (name, "plain") for name in variants if name != "plain"},
    )


def _training(model: Any, weights: Network, inputs: Any, objective: Objective) -> Any:
    optimizer = chain(1e-3)
    step = make_train_step(model, optimizer, preprocess=PREPROCESS)
    state = jax.jit(lambda w: enter(w, optimizer, jax.random.key(0)))(weights)

    def call() -> object:
        nonlocal state
        state, metrics = step(state, inputs, objective)
        return state, metrics

    return call


if __name__ == "__main__":
    tyro.cli(main)
