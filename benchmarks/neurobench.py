"""Synaptic operations by NeuroBench and by `cost.count`: integers and time.

COMMAND
  pip install torch neurobench
  python -m benchmarks.neurobench            one CPU core: under 2 minutes

One network with the same pruned weights in PyTorch and in JAX, and the same images.
Prints for every network the multiplications of two nonzeros
- as NeuroBench's `SynapticOperations` counts them: MACs and ACs of all samples;
- in int64 by NumPy, from the inputs that PyTorch's layers have met;
- by `cost.count`: in the same layers, and in products that are no layer of PyTorch;
the layers in which two of them differ; and the time of counting beside that of the
forward pass, in one process and in turns.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from benchmarks.timing import interleaved, show
from dst_jax import cost, models
from dst_jax.models.torch import importer


class Layers(NamedTuple):
    """Multiplications of two nonzeros by layer of PyTorch.

    Attributes:
      neurobench: those of NeuroBench.
      exact: those of NumPy.
      ours: those of `cost.count`.
      others: those of `cost.count` in products that are no layer.
    """

    neurobench: dict[str, int]
    exact: dict[str, int]
    ours: dict[str, int]
    others: int


def main(
    names: tuple[str, ...] = (
        *("lenet5", "resnet20", "resnet18", "mobilenet_v2", "vit_tiny"),
    ),
    batch: int = 2,
    sparsity: float = 0.6,
    rounds: int = 5,
    processor: bool = False,
) -> None:
    """Prints the counts and the ratios.

    Args:
      names: networks.
      batch: number of images.
      sparsity: fraction of the weights of every layer that is pruned.
      rounds: number of times that every variant is timed.
      processor: Whether to measure seconds of processor instead of seconds.

    Raises:
      SystemExit: PyTorch or NeuroBench is not installed.
    """
    check_installed()
    table = Table(
        title=f"products of two nonzeros, batch {batch}", title_justify="left"
    )
    for heading in (
        *("network", "NeuroBench", "NumPy, int64", "cost.count", "no layers"),
        *("layers", "NeuroBench differs in", "cost.count differs in"),
    ):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    seconds, pairs = {}, {}
    clock = time.process_time if processor else time.perf_counter
    for name in names:
        network, images = pruned_network(name, batch, sparsity)
        variables = importer.variables(name, network)
        passes = _passes(name, network, images, variables)
        found = counts(network, images, passes["cost.count"]()[1])
        sums = [sum(part.values()) for part in found[:3]]
        differing = [
            f"{sum(found.exact[key] != part[key] for key in found.exact)}"
            for part in (found.neurobench, found.ours)
        ]
        integers = [f"{n:,}" for n in (*sums, found.others)]
        table.add_row(name, *integers, str(len(found.exact)), *differing)
        variants = {f"{name}: {what}": call for what, call in passes.items()}
        seconds |= interleaved(variants, rounds=rounds, clock=clock)
        pairs |= {
            f"{name}: {what}": (f"{name}: {what}", f"{name}: {without}")
            for what, without in (
                ("NeuroBench", "forward, PyTorch"),
                ("cost.count", "forward, JAX"),
            )
        }
    Console(width=140).print(table)
    show(f"counted / forward pass, {jax.devices()[0].device_kind}", seconds, pairs)


def check_installed() -> None:
    """Ends the command if PyTorch or NeuroBench is missing, and says what to install.

    Raises:
      SystemExit: one of them is not installed.
    """
    missing = [name for name in ("torch", "neurobench") if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"benchmarks.neurobench compares with NeuroBench on PyTorch, and"
            f" {' and '.join(missing)} cannot be imported: pip install torch neurobench"
        )


def pruned_network(
    name: str, batch: int, sparsity: float
) -> tuple[Any, Float[np.ndarray, "batch channels height width"]]:
    """A network of PyTorch with pruned weights and random biases, and its images.

    Args:
      name: name of the network.
      batch: number of images.
      sparsity: fraction of the weights of every layer that is 0.
    """
    torch: Any = import_module("torch")
    build = import_module("tests.models.torch_reference.build").BUILDERS[name]
    classes, (height, width, channels) = models.task(name)
    torch.manual_seed(0)
    network = build(num_classes=classes).eval()
    rng = np.random.default_rng(0)
    for parameter in network.parameters():
        values = parameter.detach().numpy()
        if values.ndim > 1:
            values[abs(values) <= np.quantile(abs(values), sparsity)] = 0.0
        else:
            values += rng.normal(0.0, 0.1, values.shape).astype(np.float32)
    images = rng.standard_normal((batch, channels, height, width), np.float32)
    return network, images


def counts(
    network: Any, images: np.ndarray, ours: Mapping[str, cost.OpCounts]
) -> Layers:
    """Multiplications of two nonzeros by layer.

    Args:
      network: network of PyTorch.
      images: its images.
      ours: counts by `cost.count` of the same.
    """
    torch: Any = import_module("torch")
    macs = import_module("neurobench.metrics.utils.layers").single_layer_MACs
    names = {layer: name.replace(".", "/") for name, layer in network.named_modules()}
    model = import_module("neurobench.models").TorchModel(network)
    model.register_hooks()
    with torch.no_grad():
        model(torch.from_numpy(images))
        met = {names[hook.layer]: hook for hook in model.connection_hooks}
        inputs = {name: hook.inputs[0][0] for name, hook in met.items()}
        model.cleanup_hooks()
        theirs = {name: macs(inputs[name], hook.layer)[0] for name, hook in met.items()}
    exact = {
        name: products(inputs[name].numpy(), hook.layer) for name, hook in met.items()
    }
    effectual = {name: int(op.effectual) for name, op in ours.items()}
    others = sum(n for name, n in effectual.items() if name not in exact)
    return Layers(theirs, exact, {name: effectual[name] for name in exact}, others)


def products(x: np.ndarray, layer: Any) -> int:
    """Multiplications of two nonzeros in a linear layer or 2d convolution of PyTorch.

    For every place of the window: nonzeros that it reads, channel by channel, times
    nonzero weights that these meet, in int64.

    Args:
      x: input of the layer.
      layer: the layer.
    """
    w = layer.weight.detach().numpy()
    if w.ndim == 2:
        read = (x != 0).reshape(-1, w.shape[1]).sum(0, dtype=np.int64)
        return int(read @ (w != 0).sum(0, dtype=np.int64))
    pads = [(pad, pad) for pad in layer.padding]
    x = np.pad(x != 0, [(0, 0), (0, 0), *pads])
    weights = (w != 0).reshape(layer.groups, -1, *w.shape[1:]).sum(1, dtype=np.int64)
    found = 0
    for i, j in itertools.product(*map(range, w.shape[2:])):
        rows, columns = (
            slice(at * step, size - (taps - 1 - at) * step, stride)
            for at, step, size, taps, stride in zip(
                *((i, j), layer.dilation, x.shape[2:], w.shape[2:], layer.stride),
                strict=True,
            )
        )
        read = x[:, :, rows, columns].sum((0, 2, 3), dtype=np.int64)
        found += int(read @ weights[..., i, j].ravel())
    return found


def _passes(
    name: str, network: Any, images: np.ndarray, variables: Any
) -> dict[str, Callable[[], Any]]:
    """Forward passes with and without counts."""
    torch: Any = import_module("torch")
    metric = import_module("neurobench.metrics.workload").SynapticOperations()
    wrapped = import_module("neurobench.models").TorchModel(network)
    theirs, labels = torch.from_numpy(images), torch.zeros(len(images))
    model = models.create(name, num_classes=models.task(name).num_classes)
    x = jax.device_put(images.transpose(0, 2, 3, 1))
    forward, counted = (
        jax.jit(model.apply),
        jax.jit(cost.count(model.apply, with_output=True)),
    )

    @torch.no_grad()
    def by_neurobench() -> Any:
        wrapped.register_hooks()
        logits = wrapped(theirs)
        found = metric(wrapped, logits, (theirs, labels))
        wrapped.cleanup_hooks()
        return found

    return {
        "forward, PyTorch": torch.no_grad()(lambda: network(theirs)),
        "NeuroBench": by_neurobench,
        "forward, JAX": lambda: forward(variables, x),
        "cost.count": lambda: counted(variables, x),
    }


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
