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

On a machine that other work shares, one core and seconds of processor vary less:
  XLA_FLAGS=--xla_cpu_multi_thread_eigen=false OMP_NUM_THREADS=1 taskset -c 1 \
    python -m benchmarks.pytorch --processor
"""

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks.timing import interleaved, show
from benchmarks.training_steps import in_jax, in_pytorch
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
    processor: bool = False,
) -> None:
    """Prints the ratios.

    Args:
      names: names of ResNets.
      batch: number of images per step.
      size: height and width of the images.
      rounds: number of times that every variant is timed.
      processor: whether to measure seconds of processor instead of seconds.
    """
    clock = time.process_time if processor else time.perf_counter
    for name in names:
        variants = _ours(name, batch, size) | _pytorch(name, batch, size)
        seconds = interleaved(variants, rounds=rounds, clock=clock)
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
    variables = model.init(jax.random.key(1), x[:1])
    mesh = make_mesh()
    x = put_batch({"x": np.asarray(x)}, mesh)["x"]
    variables = jax.device_put(variables, replicated(mesh))
    train = partial(model.apply, train=True, mutable=["batch_stats"])
    calls = in_jax(model.apply, train, variables, x)
    return {f"ours {what}": call for what, call in calls.items()}


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
        calls = in_pytorch(network, x)
        variants |= {f"{layout} {what}": call for what, call in calls.items()}
    return variants


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
