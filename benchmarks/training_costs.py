"""What a training step multiplies under several recipes, and what a ledger costs.

COMMAND
  python -m benchmarks.training_costs            two CPU cores: about 3 minutes

Prints, for one network and batch, the multiplications of a training step next to those
of a dense one: counted exactly (zeros of weights, activations and gradients), and by
the formula of the recipe's paper. Then measures, in one process and in turns:
- a training step of RigL whose masks the ledger looks at / one without;
- the count of a whole step / a training step.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array
from rich.console import Console
from rich.table import Table

from benchmarks.timing import interleaved, show
from dst_jax import cost, pruning, trees
from dst_jax.activations import keep_top_k, sparsify_saved
from dst_jax.typing import Mask, Params

CHANNELS = (32, 64, 64, 128)
Conv = Callable[..., Array]


class Convolutions(nn.Module):
    """Convolutions with ReLU, of which all but the first may be computed otherwise."""

    convolve: Conv = jax.lax.conv_general_dilated

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Logits of ten classes."""
        for i, channels in enumerate(CHANNELS):
            conv = self.convolve if i else jax.lax.conv_general_dilated
            name, strides = f"conv{i + 1}", (1 + i % 2,) * 2
            x = nn.Conv(
                channels, (3, 3), strides, name=name, conv_general_dilated=conv
            )(x)
            x = nn.relu(nn.GroupNorm(8, name=f"norm{i + 1}")(x))
        return nn.Dense(10, name="fc")(x.mean((1, 2)))


def main(
    batch: int = 32,
    size: int = 32,
    rounds: int = 9,
    every: int = 1000,
    shared: bool = False,
) -> None:
    """Prints the table of recipes and the ratios.

    Args:
      batch: number of images per step.
      size: height and width of the images.
      rounds: number of times that every variant is timed.
      every: steps between those that the ledger counts whole.
      shared: Whether to time processor seconds, beside other work.
    """
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.standard_normal((batch, size, size, 3), np.float32))
    labels = jnp.asarray(rng.integers(0, 10, batch))
    params = Convolutions().init(jax.random.key(0), images)["params"]
    recipes(params, images, labels)
    overhead(params, images, labels, rounds=rounds, every=every, shared=shared)


def recipes(params: Params, images: Array, labels: Array) -> None:
    """Prints multiplications of a step by recipe, over those of a dense step."""
    rules = [("^conv1/", False), ("^fc/", False)]
    nine = pruning.masks.magnitude(params, 0.9, scope="erk", rules=rules)
    eight = pruning.masks.magnitude(params, 0.8, scope="layer", rules=rules)
    dense = _counts(params, images, labels, None)
    sparse = _counts(params, images, labels, nine)
    swat = _counts(params, images, labels, eight, saved=0.2)
    valid = int(dense.total().valid)
    macs = {name: int(op.valid) for name, op in dense.forward.items()}
    densities = {
        name: int(op.by_weight) / int(op.valid) for name, op in sparse.forward.items()
    }

    def formula(every: int | None) -> float:
        found = pruning.training_flops(macs, densities, dense_gradient_every=every)
        return found.relative

    whole, kept = int(dense.total().effectual), int(sparse.total().effectual)
    gradients = int(sparse.total().all_weights)
    uniform = {name: 0.2 for name in macs if name not in ("conv1", "fc")}
    by_formula = pruning.training_flops(macs, uniform).relative
    table = Table(
        title="a training step / a dense one, without zeros", title_justify="left"
    )
    for heading in ("recipe", "counted", "by formula", "formula"):
        table.add_column(heading, justify="left" if heading == "recipe" else "right")
    rows = {
        "dense": (whole, 1.0, "3 f_D"),
        "static 90 %, SET": (kept, formula(None), "3 f_S"),
        "RigL 90 %, dT = 100": (
            (100 * kept + gradients) / 101,
            formula(100),
            "(3 f_S dT + 2 f_S + f_D) / (dT + 1)",
        ),
        "AC/DC 90 %, half of the steps": (
            (whole + kept) / 2,
            (1 + formula(None)) / 2,
            "mean of 3 f_D and 3 f_S",
        ),
        "SWAT-U 80 %, 80 %": (
            int(swat.total().all_weights),
            by_formula,
            "2 f d_w + f d_a",
        ),
    }
    for name, (counted, expected, text) in rows.items():
        table.add_row(name, f"{counted / valid:.4f}", f"{expected:.4f}", text)
    Console().print(table)


def overhead(
    params: Params,
    images: Array,
    labels: Array,
    *,
    rounds: int,
    every: int,
    shared: bool,
) -> None:
    """Prints what the ledger adds to a training step of RigL."""
    tx = pruning.rigl(optax.sgd(0.01), sparsity=0.9, interval=100, end=10_000)
    state: Any = tx.init(params)
    params = pruning.sparse_params(params, state)

    @jax.jit
    def step(params: Params, state: Any) -> tuple[Params, Any]:
        grads = jax.grad(partial(_loss, Convolutions()))(params, images, labels)
        moves, state = tx.update(grads, state, params)
        return optax.apply_updates(params, moves), state

    @jax.jit
    def look(state: Any) -> dict[str, Array]:
        mask = trees.named_leaves(pruning.get_mask(state))
        return {name: leaf.sum(dtype=jnp.int32) for name, leaf in mask.items()}

    count = jax.jit(partial(_counted, Convolutions()))
    variants = {
        "step": lambda: step(params, state),
        "looked": lambda: (look(state), step(params, state)),
        "counted": lambda: count(params, images, labels, pruning.get_mask(state)),
    }
    clock = time.process_time if shared else time.perf_counter
    seconds = interleaved(variants, rounds=rounds, clock=clock)
    show(
        f"{len(CHANNELS)} convolutions, batch {len(images)}, {images.shape[1]} px",
        seconds,
        {
            "training step, masks looked at": ("looked", "step"),
            "count of a step / training step": ("counted", "step"),
        },
    )
    ratio = float(np.median(seconds["counted"]) / np.median(seconds["step"]))
    print(f"a step of {every} counted adds {ratio / every:.2%} to each")


def _counts(
    params: Params, images: Array, labels: Array, mask: Mask, *, saved: float = 0.0
) -> cost.TrainingCounts:
    conv: Conv = jax.lax.conv_general_dilated
    if saved:

        def largest(x: Array) -> Array:
            return keep_top_k(x, round(saved * x[0].size))

        conv = sparsify_saved(conv, largest)
    if mask is not None:
        params = pruning.masks.apply(mask, params)
    count = jax.jit(partial(_counted, Convolutions(conv)))
    return jax.device_get(count(params, images, labels, mask))


def _counted(
    model: Convolutions, params: Params, images: Array, labels: Array, mask: Mask
) -> cost.TrainingCounts:
    counted = cost.training(partial(_loss, model), mask=mask)
    return counted(params, images, labels)


def _loss(model: Convolutions, params: Params, images: Array, labels: Array) -> Array:
    logits: Any = model.apply({"params": params}, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


if __name__ == "__main__":
    tyro.cli(main)
