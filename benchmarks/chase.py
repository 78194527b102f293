"""Measures Chase: training steps, and the forward pass of the network it hands on.

COMMAND
  python -m benchmarks.chase            two CPU cores: a few minutes

Measures, in one process and in turns:
- a training step with Chase / dense: one without an update, one with an update of
  weights, one that removes channels, and the mean over an interval of which each of
  these updates is one step;
- a forward pass of the network without the channels that Chase would remove from it,
  inside of blocks and of the residual streams too / of the whole network.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.pruning import training
from benchmarks.timing import interleaved, show
from dst_jax import channels, models, pruning
from dst_jax.channels import Groups
from dst_jax.models.linen import as_model
from dst_jax.models.smaller import groups_of, smaller_network
from dst_jax.train.optimizer import Sparsify
from dst_jax.train.state import init_network
from dst_jax.typing import Network

INTERVAL = 1000
"""Steps between updates of weights, and between removals half-way between them."""
FAR = 10**6


def main(
    name: str = "resnet50",
    batch: int = 32,
    size: int = 32,
    width: float = 0.5,
    share: float = 0.4,
    rounds: int = 15,
    processor: bool = False,
) -> None:
    """Prints the ratios.

    Args:
      name: a residual network.
      batch: images per step.
      size: height and width of these images.
      width: width of the network, over the published one.
      share: share of the channels that is removed.
      rounds: number of times that every variant is timed.
      processor: whether to measure seconds of processor, where other work shares it.
    """
    clock = time.process_time if processor else time.perf_counter
    timed = partial(interleaved, rounds=rounds, clock=clock)
    model = models.create(name, num_classes=100, stem="cifar", width=width)
    example = jnp.zeros((1, size, size, 3))
    network = init_network(as_model(model), example, jax.random.key(0))
    groups = groups_of(network, example)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = jnp.arange(batch, dtype=jnp.int32) % 100
    inputs = {"image": jnp.asarray(images), "label": labels}
    seconds = timed(_steps(model, network, inputs, groups, share))
    seconds["amortised"] = [
        ((INTERVAL - 2) * kept + updated + removed) / INTERVAL
        for kept, updated, removed in zip(
            seconds["kept"], seconds["updated"], seconds["removed"], strict=True
        )
    ]
    device = jax.devices()[0].device_kind
    title = f"{name} x {width:g}, batch {batch}, {size} px, {device}"
    pairs = {
        f"Chase, both updates every {INTERVAL} steps": ("amortised", "dense"),
        "a step without update": ("kept", "dense"),
        "a step with an update of weights": ("updated", "dense"),
        "a step that removes channels": ("removed", "dense"),
    }
    show(f"A training step / a dense step, {title}", seconds, pairs)
    x = jnp.ones((batch, size, size, 3))
    calls = {
        "whole": _forward(network, x),
        "inner": _forward(_smaller(network, groups, channels.inner(groups), share), x),
        "all": _forward(_smaller(network, groups, groups, share), x),
    }
    pairs = {
        f"without {share:.0%} of the channels inside of blocks": ("inner", "whole"),
        f"without {share:.0%} of all channels": ("all", "whole"),
    }
    title = f"A forward pass / that of the whole network, {title}"
    show(title, timed(calls), pairs)


def _steps(
    model: Any, network: Network, inputs: Any, groups: Groups, share: float
) -> dict[str, Callable[[], object]]:
    sparsify = _chase(channels.inner(groups), share)
    step = partial(training, model, network, inputs, sparsify)
    return {
        "dense": training(model, network, inputs),
        "kept": step(at=0),
        "updated": step(at=INTERVAL - 1),
        "removed": step(at=INTERVAL // 2 - 1),
    }


def _chase(groups: Groups, share: float) -> Sparsify:
    def sparsify(
        inner: optax.GradientTransformation, mask: Any
    ) -> optax.GradientTransformation:
        del mask
        return pruning.chase(
            inner,
            sparsity=0.9,
            groups=groups,
            channel_sparsity=share,
            floor=0.5,
            channel_interval=INTERVAL,
            channel_end=FAR,
            interval=INTERVAL,
            explore_end=FAR,
            end=FAR,
        )

    return sparsify


def _smaller(network: Network, groups: Groups, some: Groups, share: float) -> Network:
    """Without the units of lowest mean magnitude, down to floors of beta 0.5."""
    scores = channels.scores.umm(network.params, some)
    floor = {k: max(int(g.size * (1 - share) / 2), 1) for k, g in some.items()}
    keep = channels.select(scores, some, ratio=share, floor=floor)
    return smaller_network(network, groups, keep)


def _forward(network: Network, x: jax.Array) -> Callable[[], object]:
    call = jax.jit(lambda variables, x: network.model(variables, x)[0])
    return lambda: call(dict(network.variables), x)


if __name__ == "__main__":
    tyro.cli(main)
