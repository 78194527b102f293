"""N:M patterns on the activation maps of a trained network, without training it again.

COMMAND
  python -m benchmarks.activation_patterns      one CPU core: a minute

Trains an MLP on the bundled digits for every seed, keeps N of every M channels of both
maps, and prints the accuracy and the share of the maps' energy that is lost, on the
test set. A quarter and an eighth of the channels are kept too: ReLU maps have half of
their zeros already.
"""

import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import tyro

from dst_jax import activations, data, models, train
from dst_jax.runs import Run
from dst_jax.typing import Network

PATTERNS = ("2:4", "4:8", "8:16", "16:32")


class Row(NamedTuple):
    """What a pattern does to a network.

    Attributes:
      top1: accuracy in percent.
      lost: share of the sum of squares of the maps that is lost, in percent.
    """

    top1: float
    lost: float


def main(seeds: int = 3, epochs: float = 20) -> None:
    """Prints a table.

    Args:
      seeds: number of networks.
      epochs: length of their training.
    """
    families = [
        [f"{int(p.split(':')[0]) // k}:{p.split(':')[1]}" for p in PATTERNS]
        for k in (1, 2, 4)
    ]
    patterns = [p for family in families for p in family if not p.startswith("0")]
    rows: dict[str, list[Row]] = {}
    for seed in range(seeds):
        for name, row in _measured(seed, epochs, patterns).items():
            rows.setdefault(name, []).append(row)
    print("| pattern | top-1 % | energy lost % |\n|---|---|---|")
    for name, found in rows.items():
        top1, lost = np.array(found).T
        print(f"| {name} | {top1.mean():.2f} +- {top1.std():.2f} | {lost.mean():.2f} |")


def _measured(seed: int, epochs: float, patterns: Sequence[str]) -> dict[str, Row]:
    with tempfile.TemporaryDirectory() as folder:
        context = train.Context(
            model=models.create("mlp", num_classes=10, hidden=(128, 64)),
            dataset=data.load("digits"),
            run=Run(folder),
            batch_size=64,
            eval_every=int(epochs),
            seed=seed,
            console=train.Console(quiet=True),
        )
        dense = train.stages.pretrain(epochs=epochs, optimizer=train.sgd(0.05))
        train.train(context, [dense])
        path = context.run.checkpoints / dense.path
        loaded = train.load_weights(path, sharding=context.sharding)
        network = context.with_model(loaded)
        found = {"none": Row(100 * _top1(context, network), 0.0)}
        for pattern in patterns:
            given = dict.fromkeys(context.map_names, pattern)
            variables = activations.with_patterns(network.variables, given)
            top1 = _top1(context, network._replace(variables=variables))
            found[pattern] = Row(100 * top1, 100 * _lost(context, network, pattern))
    return found


def _top1(context: train.Context, network: Network) -> float:
    return context.evaluate(network, context.dataset.test, count=False).top1


def _lost(context: train.Context, network: Network, pattern: str) -> float:
    """The share of the dense network's maps that the pattern takes from them."""
    split = context.dataset.test
    images = jnp.stack([split.example(i)[0] for i in range(len(split))])
    _, maps, _ = network.model(network.variables, context.preprocess(images))
    n, m = map(int, pattern.split(":"))
    lost = sum(
        float(jnp.square(x - activations.keep_n_of_m(x, n, m)).sum())
        for x in maps.values()
    )
    return lost / sum(float(jnp.square(x).sum()) for x in maps.values())


if __name__ == "__main__":
    tyro.cli(main)
