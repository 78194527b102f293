"""Measures RigL: training steps, a global mask, bytes of state.

COMMAND
  python -m benchmarks.pruning            two CPU cores: a few minutes

Measures, in one process and in turns:
- a training step of a ResNet18 with RigL / dense: a step without a mask update, one
  with, and the mean over an interval of which one step updates;
- a global mask of the 23.5 million weights of ResNet50's convolutions / a forward pass;
and counts the bytes of state per parameter that RigL adds to the optimizer.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax import data, models, pruning
from dst_jax.train import Objective, chain, make_train_step
from dst_jax.train.optimizer import Sparsify
from dst_jax.train.state import enter, init_network
from dst_jax.typing import Network

__all__ = ["training"]

PREPROCESS = partial(data.normalise, mean=(0.5,) * 3, std=(0.25,) * 3)
CONVOLUTIONS = [("^fc/", False)]


def main(
    batch: int = 64,
    size: int = 32,
    width: float = 1.0,
    interval: int = 100,
    large_batch: int = 8,
    large_size: int = 224,
    rounds: int = 15,
) -> None:
    """Prints the ratios.

    Args:
      batch: images per training step of the ResNet18.
      size: height and width of these images.
      width: width of the ResNet18, over the published one.
      interval: steps between mask updates.
      large_batch: images per forward pass of the ResNet50.
      large_size: height and width of these images.
      rounds: number of times that every variant is timed.
    """
    device = jax.devices()[0].device_kind
    _steps(batch, size, width, interval, rounds, device)
    _update(large_batch, large_size, rounds, device)
    _bytes(width)


def _steps(
    batch: int, size: int, width: float, interval: int, rounds: int, device: str
) -> None:
    model = models.create("resnet18", num_classes=10, stem="cifar", width=width)
    weights = init_network(model, jnp.zeros((1, size, size, 3)), jax.random.key(0))
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = jnp.arange(batch, dtype=jnp.int32) % 10
    inputs = {"image": jnp.asarray(images), "label": labels}
    seconds = interleaved(
        {
            "dense": training(model, weights, inputs),
            "kept": training(model, weights, inputs, _rigl(interval), at=0),
            "updated": training(
                model, weights, inputs, _rigl(interval), at=interval - 1
            ),
        },
        rounds=rounds,
    )
    seconds["amortised"] = [
        ((interval - 1) * kept + updated) / interval
        for kept, updated in zip(seconds["kept"], seconds["updated"], strict=True)
    ]
    show(
        f"ResNet18, CIFAR stem, width {width:g}, batch {batch}, {size} px, {device}",
        seconds,
        {
            f"RigL, an update every {interval} steps": ("amortised", "dense"),
            "a step without update": ("kept", "dense"),
            "a step with update": ("updated", "dense"),
        },
    )


def _rigl(interval: int, **options: Any) -> Sparsify:
    def sparsify(
        inner: optax.GradientTransformation, mask: Any
    ) -> optax.GradientTransformation:
        del mask
        return pruning.rigl(
            inner, sparsity=0.9, end=10**6, interval=interval, **options
        )

    return sparsify


def training(
    model: Any,
    weights: Network,
    inputs: Any,
    sparsify: Sparsify | None = None,
    at: int = 0,
) -> Any:
    """Training steps, each after `at` optimizer steps as far as the method knows.

    Args:
      model: the network.
      weights: its weights.
      inputs: a batch.
      sparsify: the method; None is dense.
      at: optimizer steps that the method counts before each.
    """
    optimizer = chain(1e-3, weight_decay=1e-4, sparsify=sparsify)
    step = make_train_step(model, optimizer, preprocess=PREPROCESS)
    state = jax.jit(lambda w: enter(w, optimizer, jax.random.key(0)))(weights)

    def call() -> object:
        nonlocal state
        if sparsify is not None:
            held: Any = state.opt_state
            state = state.replace(  # pyright: ignore[reportAttributeAccessIssue]
                opt_state=held._replace(step=jnp.int32(at))
            )
        state, metrics = step(state, inputs, Objective())
        return state, metrics

    return call


def _update(batch: int, size: int, rounds: int, device: str) -> None:
    model = models.create("resnet50", num_classes=1000)
    images = jnp.ones((batch, size, size, 3))
    weights = init_network(model, images[:1], jax.random.key(0))
    variables = dict(weights.variables)
    mask = jax.jit(
        lambda params: pruning.masks.magnitude(params, 0.9, rules=CONVOLUTIONS)
    )
    forward = jax.jit(model.apply)
    seconds = interleaved(
        {
            "mask": lambda: mask(weights.params),
            "forward": lambda: forward(variables, images),
        },
        rounds=rounds,
    )
    prunable = pruning.masks.prunable(weights.params, CONVOLUTIONS)
    number = sum(w.size for w in jax.tree.leaves(prunable))
    show(
        f"ResNet50, {number:,} prunable weights, forward pass of {batch} images of"
        f" {size} px, {device}",
        seconds,
        {"global mask by magnitude / forward pass": ("mask", "forward")},
    )


def _bytes(width: float) -> None:
    model = models.create("resnet18", num_classes=10, stem="cifar", width=width)
    example = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), example)["params"]
    number = sum(w.size for w in jax.tree.leaves(params))
    plain = _size(chain(1e-3), params)
    print(f"bytes of state per parameter, SGD with momentum: {plain / number:.3f}")
    for options in (
        {},
        {"packed": True},
        {"track": True},
        {"packed": True, "track": True},
    ):
        size = _size(chain(1e-3, sparsify=_rigl(100, **options)), params)
        named = ", ".join(options) or "as it is"
        print(f"  RigL adds, {named}: {(size - plain) / number:.3f}")


def _size(optimizer: optax.GradientTransformation, params: Any) -> int:
    state = jax.eval_shape(optimizer.init, params)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))


if __name__ == "__main__":
    tyro.cli(main)
