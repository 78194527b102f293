"""What trust in checkpoints costs: digests, and the look for what is not finite.

COMMAND
  python -m benchmarks.checkpoints         two CPU cores: about 2 minutes

Measures for a ResNet18 with SGD and momentum, in one process and in turns:
- a save from its start until everything is on disk, with digests / without;
- what training waits for of it, likewise;
- a restore after the digests were compared / without;
- the look at all weights, which is done where metrics are logged / nothing.
"""

import dataclasses
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import tyro

from benchmarks.timing import show
from dst_jax import models
from dst_jax.train.checkpoint import Checkpoints
from dst_jax.train.finite import check_tree
from dst_jax.train.integrity import find_fault
from dst_jax.train.sharding import abstract_like, make_mesh, replicated
from dst_jax.train.state import TrainState, enter, init_network, network_of
from dst_jax.typing import Network


class Plain(Checkpoints):
    """Checkpoints without digests."""

    def _write_manifests(self) -> None:
        pass


def main(width: float = 1.0, rounds: int = 9) -> None:
    """Prints the ratios.

    Args:
      width: width factor of the network.
      rounds: number of times that every variant is timed.
    """
    model = models.create("resnet18", num_classes=1000, width=width)
    weights = init_network(model, jnp.zeros((1, 64, 64, 3)), jax.random.key(0))
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = enter(weights, optimizer, jax.random.key(0))
    # As after training: zeros would be compressed to nothing.
    moved = optimizer.update(weights.params, state.opt_state, weights.params)[1]
    state = dataclasses.replace(state, opt_state=moved)
    state = jax.device_put(state, replicated(make_mesh()))
    network = network_of(state, model)
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        with Checkpoints(kept) as checkpoints:
            checkpoints.save(state, network)
        size = sum(p.stat().st_size for p in kept.rglob("*") if p.is_file())
        for i in range(rounds + 1):
            found = _round(Path(folder), state, network, plain_first=bool(i % 2))
            for name, spent in found.items() if i else ():  # the first warms up
                seconds[name].append(spent)
    show(
        f"ResNet18, width {width:g}, {size / 1e6:.0f} MB",
        seconds,
        {
            "a whole save: digests / none": ("whole", "whole, plain"),
            "what training waits for: digests / none": ("start", "start, plain"),
            "a restore: digests compared / not": ("restore", "restore, plain"),
            "the look at all weights / a save": ("look", "whole"),
        },
    )


def _round(
    folder: Path, state: TrainState, network: Network, *, plain_first: bool
) -> dict[str, float]:
    """Seconds of everything, once."""
    template = abstract_like((state, network), replicated(make_mesh()))
    found = {}
    kinds = [(Checkpoints, ""), (Plain, ", plain")]
    for kind, suffix in reversed(kinds) if plain_first else kinds:
        shutil.rmtree(folder / "saved", ignore_errors=True)
        with kind(folder / "saved") as checkpoints:
            start = time.perf_counter()
            checkpoints.save(state, network)
            found["start" + suffix] = time.perf_counter() - start
            checkpoints.wait()
            found["whole" + suffix] = time.perf_counter() - start
    start = time.perf_counter()
    fault = find_fault(folder / "kept" / "0")
    assert fault is None, fault
    compared = time.perf_counter()
    with Checkpoints(folder / "kept") as checkpoints:
        opened = time.perf_counter()  # which compared the digests once more
        jax.block_until_ready(checkpoints.restore(template).state)
    found["restore, plain"] = time.perf_counter() - opened
    found["restore"] = found["restore, plain"] + compared - start
    start = time.perf_counter()
    check_tree(state.params, make_mesh())
    found["look"] = time.perf_counter() - start
    return found


if __name__ == "__main__":
    tyro.cli(main)
