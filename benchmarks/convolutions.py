"""Times the convolutions of a ResNet one by one, here and in PyTorch.

COMMAND
  pip install torch
  python -m benchmarks.convolutions       two CPU cores: 75 seconds

Measures every distinct convolution and every distinct normalised map of a ResNet alone,
in one process and in turns, in float32:
- convolution: forward; forward and the gradients by input and by kernel;
- BatchNorm with the batch's statistics and ReLU: forward and all gradients.
Ours runs in NHWC, as the networks here do, and in NCHW; PyTorch runs eagerly in
channels-last. "Cores" are processor seconds over seconds of forward and backward: the
number of busy cores. Sums count every piece as often as it occurs.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from tests.models.torch_reference.build import BUILDERS

# Not an import statement: the types are checked without PyTorch as well.
torch: Any = import_module("torch")

_LAYOUTS = {"NHWC": ("NHWC", "HWIO", "NHWC"), "NCHW": ("NCHW", "OIHW", "NCHW")}
_THEIRS = "PyTorch"
_VARIANTS = (*_LAYOUTS, _THEIRS)
Times = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Convolution:
    """A square convolution of images of `size` pixels."""

    size: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int

    def __str__(self) -> str:
        return (
            f"{self.kernel}x{self.kernel}/{self.stride}"
            f" {self.inputs}-{self.outputs} at {self.size}"
        )


@dataclass(frozen=True)
class Norm:
    """BatchNorm and ReLU of maps of `size` pixels."""

    size: int
    channels: int

    def __str__(self) -> str:
        return f"BatchNorm {self.channels} at {self.size}"


def main(
    names: tuple[str, ...] = ("resnet18", "resnet50"),
    batch: int = 16,
    size: int = 128,
    rounds: int = 5,
    rows: int = 10,
) -> None:
    """Prints a table for each network: its sums, and the pieces with the largest loss.

    Args:
      names: names of ResNets.
      batch: number of images per step.
      size: height and width of the images.
      rounds: number of times that every variant is timed.
      rows: number of pieces that are shown.
    """
    for name in names:
        pieces = _pieces(BUILDERS[name](num_classes=1000), size)
        times = {piece: _measure(piece, batch, rounds) for piece in pieces}
        title = f"{name}, batch {batch}, {size} px, float32, ms"
        _show(title, pieces, times, rows)


def _pieces(network: Any, size: int) -> Counter[Convolution | Norm]:
    """The pieces of the network, and how often each occurs."""
    found: Counter[Convolution | Norm] = Counter()

    def note(module: Any, args: Any, out: Any) -> None:
        del out
        side = args[0].shape[-1]
        if isinstance(module, torch.nn.BatchNorm2d):
            found[Norm(side, module.num_features)] += 1
        else:
            found[
                Convolution(
                    side,
                    module.in_channels,
                    module.out_channels,
                    module.kernel_size[0],
                    module.stride[0],
                    module.padding[0],
                )
            ] += 1

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            module.register_forward_hook(note)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, size, size))
    return found


def _measure(piece: Convolution | Norm, batch: int, rounds: int) -> Times:
    """Median milliseconds by (variant, direction), and cores by (variant, "cores")."""
    variants = (_norm if isinstance(piece, Norm) else _convolution)(piece, batch)
    named = {" ".join(key): call for key, call in variants.items()}
    seconds = interleaved(named, rounds=rounds)
    times = {key: 1e3 * median(seconds[" ".join(key)]) for key in variants}
    for variant in _VARIANTS:
        times[variant, "cores"] = _cores(variants[variant, "both"], rounds)
    return times


def _cores(call: Callable[[], object], rounds: int) -> float:
    start, busy = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        jax.block_until_ready(call())
    return (time.process_time() - busy) / (time.perf_counter() - start)


def _convolution(piece: Any, batch: int) -> dict[Any, Callable[[], object]]:
    rng = np.random.default_rng(0)
    p = piece
    x = rng.normal(size=(batch, p.inputs, p.size, p.size)).astype("f")
    w = rng.normal(size=(p.outputs, p.inputs, p.kernel, p.kernel)).astype("f")
    variants: dict[Any, Callable[[], object]] = {}
    for layout, dims in _LAYOUTS.items():
        last = layout == "NHWC"
        args = (
            jnp.asarray(x.transpose(0, 2, 3, 1) if last else x),
            jnp.asarray(w.transpose(2, 3, 1, 0) if last else w),
        )

        def convolve(x: jax.Array, w: jax.Array, dims: Any = dims) -> jax.Array:
            return jax.lax.conv_general_dilated(
                x, w, (p.stride, p.stride), [(p.padding, p.padding)] * 2,
                dimension_numbers=dims,
            )  # fmt: skip

        variants[layout, "forward"] = _call(jax.jit(convolve), args)
        variants[layout, "both"] = _call(_with_gradients(convolve), args)
    tensors = [
        torch.tensor(t).to(memory_format=torch.channels_last).requires_grad_()
        for t in (x, w)
    ]

    def theirs() -> Any:
        return torch.nn.functional.conv2d(*tensors, stride=p.stride, padding=p.padding)

    variants[_THEIRS, "forward"] = _without_gradients(theirs)
    variants[_THEIRS, "both"] = _and_backward(theirs, tensors)
    return variants


def _norm(piece: Any, batch: int) -> dict[Any, Callable[[], object]]:
    x = np.random.default_rng(0).normal(
        size=(batch, piece.channels, piece.size, piece.size)
    )
    variants: dict[Any, Callable[[], object]] = {}
    for layout in _LAYOUTS:
        last = layout == "NHWC"
        norm = nn.BatchNorm(use_running_average=False, axis=-1 if last else 1)
        ours = jnp.asarray(x.transpose(0, 2, 3, 1) if last else x, jnp.float32)
        variables = norm.init(jax.random.key(0), ours)

        def normalise(
            x: jax.Array, params: Any, norm: Any = norm, variables: Any = variables
        ) -> jax.Array:
            out, _ = norm.apply(
                variables | {"params": params}, x, mutable=["batch_stats"]
            )
            return nn.relu(out)

        args = (ours, variables["params"])
        variants[layout, "forward"] = _call(jax.jit(normalise), args)
        variants[layout, "both"] = _call(_with_gradients(normalise), args)
    theirs = torch.nn.BatchNorm2d(piece.channels)
    tensor = torch.tensor(x, dtype=torch.float32)
    tensor = tensor.to(memory_format=torch.channels_last).requires_grad_()

    def call() -> Any:
        return torch.nn.functional.relu(theirs(tensor))

    variants[_THEIRS, "forward"] = _without_gradients(call)
    variants[_THEIRS, "both"] = _and_backward(call, [tensor, *theirs.parameters()])
    return variants


def _call(function: Callable[..., object], args: Any) -> Callable[[], object]:
    return lambda: function(*args)


def _with_gradients(function: Callable[..., jax.Array]) -> Callable[..., object]:
    """The value, and the gradients for a cotangent that is no constant."""

    def call(*args: Any) -> Any:
        out, pull = jax.vjp(function, *args)
        return out, pull(out)

    return jax.jit(call)


def _without_gradients(call: Callable[[], Any]) -> Callable[[], object]:
    def forward() -> object:
        with torch.no_grad():
            return call().numpy()

    return forward


def _and_backward(call: Callable[[], Any], tensors: Any) -> Callable[[], object]:
    def both() -> object:
        out = call()
        return [g.numpy() for g in torch.autograd.grad(out, tensors, out.detach())]

    return both


def _show(
    title: str,
    pieces: Mapping[Convolution | Norm, int],
    times: Mapping[Convolution | Norm, Times],
    rows: int,
) -> None:
    """Sums first, then the pieces by how much longer ours take in the network."""
    table = Table(title=title, title_justify="left")
    headings = {"forward": "fwd", "both": "fwd+bwd", "cores": "cores"}
    for heading in ("piece", "n"):
        justify = "left" if heading == "piece" else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    for heading in headings.values():
        for variant in _VARIANTS:
            table.add_column(f"{heading} {variant}", justify="right")
    table.add_column("fwd+bwd NHWC / PyTorch", justify="right")

    def add(label: str, count: int, ms: Times) -> None:
        cells = [f"{ms[v, key]:.1f}" for key in headings for v in _VARIANTS]
        ratio = ms["NHWC", "both"] / ms[_THEIRS, "both"]
        table.add_row(label, str(count), *cells, f"{ratio:.2f}")

    for label, kind in (("all convolutions", Convolution), ("all BatchNorm", Norm)):
        chosen = {p: n for p, n in pieces.items() if isinstance(p, kind)}
        add(label, sum(chosen.values()), _total(chosen, times))
    lost = {
        p: n * (times[p]["NHWC", "both"] - times[p][_THEIRS, "both"])
        for p, n in pieces.items()
    }
    for piece in sorted(pieces, key=lambda p: -lost[p])[:rows]:
        add(str(piece), pieces[piece], times[piece])
    Console(width=140).print(table)


def _total(
    pieces: Mapping[Convolution | Norm, int],
    times: Mapping[Convolution | Norm, Times],
) -> Times:
    """Milliseconds summed over pieces; cores averaged over time."""
    out: Times = {}
    for variant in _VARIANTS:
        for key in ("forward", "both"):
            parts = [n * times[p][variant, key] for p, n in pieces.items()]
            out[variant, key] = sum(parts)
        busy = [
            n * times[p][variant, "both"] * times[p][variant, "cores"]
            for p, n in pieces.items()
        ]
        out[variant, "cores"] = sum(busy) / out[variant, "both"]
    return out


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
