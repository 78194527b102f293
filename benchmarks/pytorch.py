"""Times our ResNets and PyTorch's on the same device: forward pass, training step.

COMMAND
  pip install torch
  python -m benchmarks.pytorch            two CPU cores: under 2 minutes

Measures, in one process and in turns, in float32:
- the forward pass in evaluation mode;
- a training step: forward, backward, SGD with momentum, BatchNorm's statistics updated.
PyTorch runs eagerly, in its default layout and in channels-last. The networks are the
references that the tests compare ours with. Ours splits the batch over all devices:
over the cores of a CPU with XLA_FLAGS=--xla_force_host_platform_device_count=2.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.timing import interleaved, show
from dst_jax import models
from dst_jax.train.sharding import make_mesh, put_batch, replicated
from tests.models.torch_reference.build import BUILDERS

# Not an import statement: the types are checked without PyTorch as well.
torch: Any = import_module("torch")


def main(
    names: tuple[str, ...] = ("resnet18", "resnet50"),
    batch: int = 16,
    size: int = 128,
    rounds: int = 7,
) -> None:
    """Prints the ratios.

    Args:
      names: names of ResNets.
      batch: number of images per step.
      size: height and width of the images.
      rounds: number of times that every variant is timed.
    """
    for name in names:
        variants = _ours(name, batch, size) | _pytorch(name, batch, size)
        seconds = interleaved(variants, rounds=rounds)
        pairs = {
            f"{what}, ours / PyTorch {layout}": (f"ours {what}", f"{layout} {what}")
            for what in ("forward", "training step")
            for layout in ("default", "channels-last")
        }
        device = jax.devices()[0].device_kind
        show(f"{name}, batch {batch}, {size} px, float32, {device}", seconds, pairs)


def _ours(name: str, batch: int, size: int) -> dict[str, Callable[[], object]]:
    model = models.create(name, num_classes=1000)
    x = jax.random.normal(jax.random.key(0), (batch, size, size, 3))
    labels = jnp.arange(batch)
    variables = model.init(jax.random.key(1), x[:1])
    mesh = make_mesh()
    x = put_batch({"x": np.asarray(x)}, mesh)["x"]
    variables = jax.device_put(variables, replicated(mesh))
    tx = optax.sgd(1e-3, momentum=0.9)

    @jax.jit
    def forward(variables: Any, x: jax.Array) -> Any:
        return model.apply(variables, x)

    def step(params: Any, statistics: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, updated = model.apply(
                {"params": params, "batch_stats": statistics},
                x,
                train=True,
                mutable=["batch_stats"],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), updated["batch_stats"]

        grads, updated = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), updated, state

    train = jax.jit(step, donate_argnums=(0, 1, 2))
    # Copies: a step takes its arguments away, and the forward pass keeps its own.
    first = jax.tree.map(jnp.copy, (variables["params"], variables["batch_stats"]))
    carried = [(*first, tx.init(first[0]))]

    def train_once() -> object:
        carried.append(train(*carried.pop()))
        return carried[0]

    return {
        "ours forward": lambda: forward(variables, x),
        "ours training step": train_once,
    }


def _pytorch(name: str, batch: int, size: int) -> dict[str, Callable[[], object]]:
    variants: dict[str, Callable[[], object]] = {}
    layouts = {
        "default": torch.contiguous_format,
        "channels-last": torch.channels_last,
    }
    for layout, memory_format in layouts.items():
        torch.manual_seed(0)
        network = BUILDERS[name](num_classes=1000).to(memory_format=memory_format)
        x = torch.randn(batch, 3, size, size).to(memory_format=memory_format)
        variants[f"{layout} forward"] = _forward(network, x)
        variants[f"{layout} training step"] = _step(network, x)
    return variants


def _forward(network: Any, x: Any) -> Callable[[], object]:
    def call() -> object:
        network.eval()
        with torch.inference_mode():
            return network(x).numpy()

    return call


def _step(network: Any, x: Any) -> Callable[[], object]:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    labels = torch.arange(len(x))

    def call() -> object:
        network.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return call


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
