"""Compares RigL with JaxPruner's, at 98 % sparsity on handwritten digits.

COMMAND
  python -m benchmarks.rigl_digits --out DIR      two CPU cores: minutes

A perceptron 64-300-100-10 learns scikit-learn's digits (1,198 images, 599 for the
test). All seeds of a cell train at once under `jax.vmap`. A seed has the same initial
weights, first masks and batches in every cell, so that cells are compared pairwise.

JaxPruner's form (google-research/jaxpruner, algorithms/sparse_trainers.py), written
anew from its source, differs from ours in this:
- steps count from 0: the first update comes before the first step, with the gradients
  of the initial weights;
- an update takes the place of the optimizer's step;
- numbers of weights are rounded to the nearest, not down;
- statistics of the optimizer are reset where a weight grows, and decay where one is
  pruned; ours are at 0 there;
- the first mask comes from one fixed key unless another is given.

DIR/cells.jsonl holds a line for every cell and seed; what is there is not run again.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table
from scipy import stats

from dst_jax import pruning, trees
from dst_jax.data.digits import load_digits
from dst_jax.data.recipes import recipe_of
from dst_jax.pruning import selection
from dst_jax.pruning import updates as mask_updates
from dst_jax.pruning.apply_mask import hold
from dst_jax.pruning.reset_state import reset_where
from dst_jax.typing import Mask, Params
from experiments.grid.records import CellRecords, Record, spread

SIZES = (64, 300, 100, 10)
SPARSITY, INTERVAL, FRACTION, RATE, BATCH = 0.98, 100, 0.3, 0.05, 100
FIXED_KEY = 8
"""JaxPruner's key of the first mask, unless another is given."""

Transform = optax.GradientTransformation
Cell = Callable[[Params, jax.Array, int], Transform]
"""`(params, seed, end) -> optimizer`."""


def main(
    out: Path, seeds: int = 20, lengths: tuple[int, ...] = (600, 1000, 2000)
) -> None:
    """Trains what is missing and prints a table for every length.

    Args:
      out: directory of the results.
      seeds: number of seeds, from 0.
      lengths: training steps; masks change in the first three quarters of them.
    """
    records = CellRecords(out / "cells.jsonl")
    train, test = load_digits(recipe_of("digits"), size=8)
    splits = [(_flat(s.images), jnp.asarray(s.labels)) for s in (train, test)]
    for steps in lengths:
        names = {name: f"{name}, {steps} steps" for name in CELLS}
        for name, cell in CELLS.items():
            missing = [s for s in range(seeds) if records.get(names[name], s) is None]
            if missing:
                run = functools.partial(_train, cell, *splits, steps)
                found = jax.jit(jax.vmap(run))(jnp.array(missing, jnp.uint32))
                for seed, top1, active in zip(missing, *found, strict=True):
                    line = {"cell": names[name], "seed": seed, "top1": float(top1)}
                    records.add(line | {"active": int(active)})
        cells = {k: records.of([name], range(seeds)) for k, name in names.items()}
        _show(f"Test accuracy after {steps} steps, %", cells)


def _flat(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images.reshape(len(images), -1) / 255, jnp.float32)


def _train(
    cell: Cell,
    train: tuple[jax.Array, jax.Array],
    test: tuple[jax.Array, jax.Array],
    steps: int,
    seed: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Test accuracy after the last step, and the number of weights that are not 0."""
    of_weights, of_batches = jax.random.split(jax.random.key(seed))
    params = _init(of_weights)
    tx = cell(params, seed, steps * 3 // 4)
    state = tx.init(params)
    params = pruning.sparse_params(params, state)

    def step(carry: tuple[Params, Any], i: jax.Array) -> tuple[Any, None]:
        params, state = carry
        chosen = jax.random.randint(
            jax.random.fold_in(of_batches, i), (BATCH,), 0, len(train[0])
        )
        grads = jax.grad(_loss)(params, train[0][chosen], train[1][chosen])
        moves, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, moves), state), None

    (params, _), _ = jax.lax.scan(step, (params, state), jnp.arange(steps))
    top1 = jnp.mean(_logits(params, test[0]).argmax(-1) == test[1])
    kernels = [layer["kernel"] for layer in params.values()]
    return top1, jnp.stack([jnp.sum(kernel != 0) for kernel in kernels]).sum()


def _init(key: jax.Array) -> Params:
    pairs = itertools.pairwise(SIZES)
    return {
        f"fc{i}": {
            "kernel": jax.nn.initializers.he_normal()(jax.random.fold_in(key, i), pair),
            "bias": jnp.zeros(pair[1]),
        }
        for i, pair in enumerate(pairs)
    }


def _logits(params: Params, x: jax.Array) -> jax.Array:
    for i, layer in enumerate(params.values()):
        x = (jax.nn.relu(x) if i else x) @ layer["kernel"] + layer["bias"]
    return x


def _loss(params: Params, x: jax.Array, labels: jax.Array) -> jax.Array:
    logits = _logits(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _first_mask(params: Params, key: jax.Array) -> Mask:
    """A random mask with ERK densities, `None` for biases."""
    kernels = {name: {"kernel": layer["kernel"]} for name, layer in params.items()}
    mask = mask_updates.random_mask(kernels, key, SPARSITY, "erk")
    return {name: layer | {"bias": None} for name, layer in mask.items()}


def _sgd(steps: int) -> Transform:
    return optax.sgd(optax.cosine_decay_schedule(RATE, steps), momentum=0.9)


def ours(key: Callable[[jax.Array], Any], **options: Any) -> Cell:
    """`pruning.rigl`; `key` gives the key of the first mask for a seed."""

    def build(params: Params, seed: jax.Array, end: int) -> Transform:
        return pruning.rigl(
            _sgd(end * 4 // 3),
            sparsity=SPARSITY,
            end=end,
            interval=INTERVAL,
            drop_fraction=FRACTION,
            mask=_first_mask(params, jax.random.key(key(seed))),
            **options,
        )

    return build


class _Explored(NamedTuple):
    step: jax.Array
    held: pruning.MaskState
    inner: Any


def jaxpruner(key: Callable[[jax.Array], Any], *, start: int = 0) -> Cell:
    """RigL in JaxPruner's form; `start` is the first step with an update."""

    def build(params: Params, seed: jax.Array, end: int) -> Transform:
        inner = _sgd(end * 4 // 3)
        fraction = optax.cosine_decay_schedule(FRACTION, end)

        def init(params: Params) -> Any:
            mask = _first_mask(params, jax.random.key(key(seed)))
            held = pruning.MaskState(mask)
            return _Explored(jnp.zeros((), jnp.int32), held, inner.init(params))

        def update(updates: Params, state: Any, params: Any = None) -> Any:
            grads = updates
            old = state.held.mask

            def explore() -> Any:
                new = _explored(params, grads, old, fraction(state.step))
                grown = jax.tree.map(lambda a, b: ~a & b, old, new)
                fresh = optax.tree.zeros_like(state.inner)
                left = reset_where(state.inner, fresh, grown)
                return new, optax.tree.zeros_like(grads), left

            def advance() -> Any:
                kept = trees.merge(
                    pruning.masks.apply(old, trees.only(old, grads)), grads
                )
                return old, *inner.update(kept, state.inner, params)

            due = (state.step % INTERVAL == 0) & (state.step <= end)
            due &= state.step >= start
            new, moves, left = jax.lax.cond(due, explore, advance)
            held = pruning.MaskState(new)
            return hold(new, moves, params), _Explored(state.step + 1, held, left)

        return optax.GradientTransformation(init, update)

    return build


def _explored(params: Params, grads: Params, mask: Mask, fraction: Any) -> Mask:
    """The mask after one update, with numbers rounded to the nearest."""
    size, steep = (
        jax.tree.map(jnp.abs, trees.only(mask, tree)) for tree in (params, grads)
    )
    before = mask_updates.active(mask, trees.named_leaves(mask))
    kept = {
        name: jnp.round((1 - fraction) * n).astype(jnp.int32)
        for name, n in before.items()
    }
    left = selection.top_k(size, kept, among=mask)
    return mask_updates.grow(steep, left, before)


def _own(seed: jax.Array) -> jax.Array:
    return seed


def _shared(seed: jax.Array) -> int:
    del seed
    return FIXED_KEY


CELLS: dict[str, Cell] = {
    "ours": ours(_own),
    "ours, skip_update": ours(_own, skip_update=True),
    "ours, start=1": ours(_own, start=1),
    "ours, start=1, skip_update": ours(_own, start=1, skip_update=True),
    "JaxPruner": jaxpruner(_own),
    "JaxPruner, no update at step 0": jaxpruner(_own, start=1),
    "ours, one first mask": ours(_shared),
    "JaxPruner, one first mask": jaxpruner(_shared),
}


def _show(title: str, cells: Mapping[str, Sequence[Record]]) -> None:
    """Mean and spread of every cell, and its differences from the first by seed."""
    table = Table(title=title, title_justify="left")
    for heading in ("cell", "top-1", "minus the first", "p, mean", "p, variance"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    values = {
        name: np.array([100 * _top1(record) for record in records])
        for name, records in cells.items()
    }
    first = next(iter(values.values()))
    for name, found in values.items():
        row = [name, spread(cells[name], _top1).text()]
        if found is not first and len(first) > 1:
            row += [f"{(found - first).mean():+.2f}"]
            row += [f"{stats.ttest_rel(found, first).pvalue:.2g}"]
            row += [f"{stats.levene(found, first).pvalue:.2g}"]
        table.add_row(*row)
    Console().print(table)


def _top1(record: Record) -> float:
    return record["top1"]


if __name__ == "__main__":
    tyro.cli(main)
