"""Times the layers of a ResNet one by one, here and in PyTorch.

COMMAND
  pip install torch
  python -m benchmarks.convolutions       2 min 30 s on one core

Measures every distinct convolution, every distinct normalised map and the max pooling
of a ResNet alone, in one process and in turns, in float32: the forward pass, the
gradient of the input and that of the kernel, each on its own. BatchNorm uses the
batch's statistics and is followed by ReLU; its column of the input holds all of its
gradients. The images need no gradient. PyTorch runs eagerly in channels-last. Sums
count every layer as often as it occurs. "Cores" are processor seconds over seconds:
the number of busy cores.

On a machine that other work shares, one core and seconds of processor vary less:
  XLA_FLAGS=--xla_cpu_multi_thread_eigen=false OMP_NUM_THREADS=1 taskset -c 1 \
    python -m benchmarks.convolutions --processor
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from statistics import median
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import interleaved
from dst_jax.models.networks.pointwise import pointwise_conv
from dst_jax.models.networks.pooling import max_pool
from tests.models.torch_reference.build import BUILDERS

# Not an import statement: the types are checked without PyTorch as well.
torch: Any = import_module("torch")

_PARTS = ("forward", "input", "kernel")
_OURS, _THEIRS = "ours", "PyTorch"
Calls = dict[tuple[str, str], Callable[[], object]]
Times = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Layer:
    """A layer of images of `size` pixels: convolution, BatchNorm or max pooling."""

    kind: str
    size: int
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0

    def __str__(self) -> str:
        if self.kind == "convolution":
            window = f"{self.kernel}x{self.kernel}/{self.stride}"
            return f"{window} {self.inputs}-{self.outputs} at {self.size}"
        return f"{self.kind} {self.outputs} at {self.size}"


def main(
    names: tuple[str, ...] = ("resnet18", "resnet50"),
    batch: int = 16,
    size: int = 128,
    rounds: int = 5,
    rows: int = 12,
    processor: bool = False,
) -> None:
    """Prints a table for each network: its sums, and the layers with the largest loss.

    Args:
      names: names of ResNets.
      batch: number of images per step.
      size: height and width of the images.
      rounds: number of times that every variant is timed.
      rows: number of layers that are shown.
      processor: whether to measure seconds of processor instead of seconds.
    """
    clock = time.process_time if processor else time.perf_counter
    for name in names:
        layers = _layers(BUILDERS[name](num_classes=1000), size)
        times = {layer: _measured(layer, batch, rounds, clock) for layer in layers}
        title = f"{name}, batch {batch}, {size} px, float32, ms"
        _show(title, layers, times, rows)


def _layers(network: Any, size: int) -> Counter[Layer]:
    """The layers of the network, and how often each occurs."""
    found: Counter[Layer] = Counter()
    modules = torch.nn

    def note(module: Any, args: Any, out: Any) -> None:
        side, channels = args[0].shape[-1], (args[0].shape[1], out.shape[1])
        if isinstance(module, modules.BatchNorm2d):
            layer = Layer("BatchNorm", side, *channels)
        elif isinstance(module, modules.MaxPool2d):
            window = module.kernel_size, module.stride, module.padding
            layer = Layer("max pooling", side, *channels, *window)
        else:
            window = module.kernel_size[0], module.stride[0], module.padding[0]
            layer = Layer("convolution", side, *channels, *window)
        found[layer] += 1

    kinds = modules.Conv2d | modules.BatchNorm2d | modules.MaxPool2d
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(note)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, size, size))
    return found


def _measured(
    layer: Layer, batch: int, rounds: int, clock: Callable[[], float]
) -> Times:
    """Median milliseconds by library and part, and cores by library and "cores"."""
    calls = _calls(layer, batch)
    named = {" ".join(key): call for key, call in calls.items()}
    seconds = interleaved(named, rounds=rounds, clock=clock)
    times = {key: 1e3 * median(seconds[" ".join(key)]) for key in calls}
    for library in (_OURS, _THEIRS):
        own = [call for (by, _), call in calls.items() if by == library]
        times[library, "cores"] = _cores(own, rounds)
    return times


def _cores(calls: Sequence[Callable[[], object]], rounds: int) -> float:
    start, busy = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        for call in calls:
            jax.block_until_ready(call())
    return (time.process_time() - busy) / (time.perf_counter() - start)


def _calls(layer: Layer, batch: int) -> Calls:
    """The forward pass and the gradients in both libraries."""
    p, rng = layer, np.random.default_rng(0)
    x = rng.normal(size=(batch, p.inputs, p.size, p.size)).astype("f")
    functional = torch.nn.functional
    window = {"stride": p.stride, "padding": p.padding}
    if layer.kind == "convolution":
        kernel = rng.normal(size=(p.outputs, p.inputs, p.kernel, p.kernel)).astype("f")
        weights, axes = [kernel], [(2, 3, 1, 0)]
        ours = partial(
            pointwise_conv,
            strides=(p.stride, p.stride),
            padding=[(p.padding, p.padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        theirs = partial(functional.conv2d, **window)
        parts = {"input": [0], "kernel": [1]}
    elif layer.kind == "BatchNorm":
        weights = [rng.uniform(0.5, 1.5, p.inputs).astype("f") for _ in range(2)]
        axes, ours, theirs = [(0,), (0,)], _norm, _torch_norm
        parts = {"input": [0, 1, 2]}
    else:
        weights, axes = [], []
        ours = partial(max_pool, size=p.kernel, **window)
        theirs = partial(functional.max_pool2d, kernel_size=p.kernel, **window)
        parts = {"input": [0]}
    if layer.inputs == 3:
        del parts["input"]
    operands = [a.transpose(t) for a, t in zip(weights, axes, strict=True)]
    arrays = [jnp.asarray(a) for a in (x.transpose(0, 2, 3, 1), *operands)]
    tensors = [torch.tensor(a) for a in (x, *weights)]
    return _in_jax(ours, arrays, parts) | _in_pytorch(theirs, tensors, parts)


def _norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    norm = nn.BatchNorm(use_running_average=False)
    statistics = {"mean": jnp.zeros_like(scale), "var": jnp.ones_like(scale)}
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": statistics}
    return nn.relu(norm.apply(variables, x, mutable=["batch_stats"])[0])


def _torch_norm(x: Any, scale: Any, bias: Any) -> Any:
    statistics = torch.zeros(len(scale)), torch.ones(len(scale))
    norm = torch.nn.functional.batch_norm
    return torch.relu(norm(x, *statistics, scale, bias, training=True))


def _in_jax(
    function: Callable[..., jax.Array],
    operands: Sequence[jax.Array],
    parts: Mapping[str, Sequence[int]],
) -> Calls:
    forward = jax.jit(function)
    calls: Calls = {(_OURS, "forward"): lambda: forward(*operands)}
    pulled = jax.jit(lambda pull, cotangent: pull(cotangent))
    for part, places in parts.items():

        def of_part(*own: jax.Array, places: Sequence[int] = places) -> jax.Array:
            given = dict(enumerate(operands)) | dict(zip(places, own, strict=True))
            return function(*given.values())

        # What the forward pass keeps is computed here; the gradient alone is timed.
        out, pull = jax.vjp(of_part, *(operands[i] for i in places))
        calls[_OURS, part] = partial(pulled, pull, jnp.cos(out))
    return calls


def _in_pytorch(
    function: Callable[..., Any],
    operands: Sequence[Any],
    parts: Mapping[str, Sequence[int]],
) -> Calls:
    layout = torch.channels_last
    operands = [t.to(memory_format=layout) if t.ndim == 4 else t for t in operands]
    calls: Calls = {}

    def forward() -> object:
        with torch.no_grad():
            return function(*operands).numpy()

    calls[_THEIRS, "forward"] = forward
    for part, places in parts.items():
        own = [t.clone().requires_grad_(i in places) for i, t in enumerate(operands)]
        out = function(*own)
        gradient = partial(
            torch.autograd.grad,
            out,
            [own[i] for i in places],
            out.detach().cos(),
            retain_graph=True,
        )
        calls[_THEIRS, part] = lambda gradient=gradient: [g.numpy() for g in gradient()]
    return calls


def _show(
    title: str, layers: Mapping[Layer, int], times: Mapping[Layer, Times], rows: int
) -> None:
    """Sums first, then the layers by how much longer ours take in the network."""
    table = Table(title=title, title_justify="left")
    for heading in ("layer", "n"):
        justify = "left" if heading == "layer" else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for heading in (*_PARTS, "cores"):
        table.add_column(f"{heading} {_OURS} / {_THEIRS}", justify="right")
    table.add_column("ratio of sums", justify="right")

    def add(label: str, count: int, ms: Times) -> None:
        cells = [
            f"{ms[_OURS, key]:.1f} / {ms[_THEIRS, key]:.1f}"
            if (_OURS, key) in ms
            else ""
            for key in (*_PARTS, "cores")
        ]
        ratio = _sum(ms, _OURS) / _sum(ms, _THEIRS)
        table.add_row(label, str(count), *cells, f"{ratio:.2f}")

    for kind in dict.fromkeys(layer.kind for layer in layers):
        chosen = {layer: n for layer, n in layers.items() if layer.kind == kind}
        add(f"all of {kind}", sum(chosen.values()), _total(chosen, times))
    lost = {
        layer: n * (_sum(times[layer], _OURS) - _sum(times[layer], _THEIRS))
        for layer, n in layers.items()
    }
    for layer in sorted(layers, key=lambda layer: -lost[layer])[:rows]:
        add(str(layer), layers[layer], times[layer])
    Console(width=140).print(table)


def _sum(ms: Times, library: str) -> float:
    """Milliseconds of all parts in a library."""
    return sum(ms.get((library, part), 0.0) for part in _PARTS)


def _total(layers: Mapping[Layer, int], times: Mapping[Layer, Times]) -> Times:
    """Milliseconds summed over layers; cores averaged over time."""
    out: Times = {}
    for library in (_OURS, _THEIRS):
        for part in _PARTS:
            parts = [n * times[p].get((library, part), 0.0) for p, n in layers.items()]
            out[library, part] = sum(parts)
        busy = [
            n * _sum(times[p], library) * times[p][library, "cores"]
            for p, n in layers.items()
        ]
        out[library, "cores"] = sum(busy) / _sum(out, library)
    return out


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
