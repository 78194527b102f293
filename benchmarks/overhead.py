"""The cost of sparsity tools: a ResNet18 step with and without them.

COMMAND
  python -m benchmarks.overhead            two CPU cores: about 5 minutes

Measures, in one process and in turns:
- a training step with Transformed l1 on every ReLU / without;
- a training step with a mask in the optimizer / without;
- a training step with gates on channels and their relaxed count in the loss / without;
- an evaluation step with exact counts / without, / with nothing but the logits;
- the memory of a training step whose taps nobody collects / of one without taps.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.timing import interleaved, show
from dst_jax import data, models, penalties, pruning
from dst_jax.activations import Tap
from dst_jax.parametrisations import Parametrisation
from dst_jax.train import (
    Objective,
    Term,
    chain,
    make_eval_step,
    make_train_step,
    stages,
)
from dst_jax.train.state import enter, init_network
from dst_jax.typing import Network

PREPROCESS = partial(data.normalise, mean=(0.5,) * 3, std=(0.25,) * 3)
PENALTY = Objective(terms=(Term(penalties.transformed_l1, 1e-6, {"a": 1.0}),))


def main(batch: int = 64, size: int = 32, width: float = 1.0, rounds: int = 15) -> None:
    """Prints the ratios.

    Args:
      batch: number of images per step.
      size: height and width of the images.
      width: width factor of the network.
      rounds: number of times that every variant is timed.
    """
    model = models.create("resnet18", num_classes=10, stem="cifar", width=width)
    weights = init_network(model, jnp.zeros((1, size, size, 3)), jax.random.key(0))
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = jnp.arange(batch, dtype=jnp.int32) % 10
    inputs = {"image": jnp.asarray(images), "label": labels}
    mask = pruning.masks.magnitude(weights.params, 0.6)
    masked = weights._replace(mask=mask)
    variants = {
        "plain": _training(model, weights, inputs, Objective()),
        "penalty": _training(model, weights, inputs, PENALTY),
        "mask": _training(model, masked, inputs, Objective()),
        "gates": _gated(model, weights, inputs),
        "logits": _logits(model, weights, inputs),
        "evaluation": _evaluation(model, weights, inputs, count=False),
        "counts": _evaluation(model, weights, inputs, count=True),
    }
    seconds = interleaved(variants, rounds=rounds)
    device = jax.devices()[0].device_kind
    show(
        f"ResNet18, CIFAR stem, width {width:g}, batch {batch}, {size} px, {device}",
        seconds,
        {
            "training step, Transformed l1 on every ReLU": ("penalty", "plain"),
            "training step, mask in the optimizer": ("mask", "plain"),
            "training step, gates and relaxed count": ("gates", "plain"),
            "evaluation, exact counts": ("counts", "evaluation"),
            "evaluation, zeros and exact counts": ("counts", "logits"),
        },
    )
    with_taps, without = _memory(model, weights, inputs)
    print(
        f"memory of a training step, taps unused / no taps: {with_taps / without:.4f}"
    )
    print(f"  {with_taps:,} / {without:,} bytes of temporaries and outputs")


def _gated(model: Any, weights: Network, inputs: Any) -> Any:
    """A step of a search: gates, the relaxed count and the penalty on fence-sitters."""
    example = jax.ShapeDtypeStruct((1, *inputs["image"].shape[1:]), jnp.float32)
    gates, terms = stages.GateTraining().for_network(weights, example)
    return _training(model, weights, inputs, Objective(terms=terms), gates)


def _training(
    model: Any,
    weights: Network,
    inputs: Any,
    objective: Objective,
    gates: Parametrisation | None = None,
) -> Any:
    optimizer = chain(1e-3, mask=weights.mask, weight_decay=1e-4)
    step = make_train_step(
        model, optimizer, preprocess=PREPROCESS, parametrisation=gates
    )
    start = partial(
        enter, optimizer=optimizer, key=jax.random.key(0), parametrisation=gates
    )
    state = jax.jit(start)(weights)

    def call() -> object:
        nonlocal state
        state, metrics = step(state, inputs, objective)
        return state, metrics

    return call


def _evaluation(model: Any, weights: Network, inputs: Any, *, count: bool) -> Any:
    step = make_eval_step(model, preprocess=PREPROCESS, count=count)
    return lambda: step(weights.params, weights.model_state, inputs)


def _logits(model: Any, weights: Network, inputs: Any) -> Any:
    """The forward pass alone, for an evaluation that measures nothing."""
    variables = dict(weights.variables)
    apply = jax.jit(lambda v, images: model.apply(v, PREPROCESS(images)))
    return lambda: apply(variables, inputs["image"])


def _memory(model: Any, weights: Network, inputs: Any) -> tuple[int, int]:
    """Bytes that XLA plans for a training step, with taps and with none."""

    def no_taps(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, Tap) and context.method_name == "__call__":
            return args[0]
        return next_fun(*args, **kwargs)

    def planned() -> int:
        optimizer = chain(1e-3)
        step: Any = make_train_step(model, optimizer, preprocess=PREPROCESS)
        state = jax.eval_shape(
            lambda w: enter(w, optimizer, jax.random.key(0)), weights
        )
        memory = step.lower(state, inputs, Objective()).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    with_taps = planned()
    with nn.intercept_methods(no_taps):
        return with_taps, planned()


if __name__ == "__main__":
    tyro.cli(main)
