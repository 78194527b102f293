"""Accelerators on whole networks with random zeros at published densities."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from benchmarks.accelerators.comparison import Row
from benchmarks.accelerators.networks import ALEXNET, GOOGLENET, VGG16, Layer, draw
from dst_jax.cost import accelerators
from dst_jax.cost.counting.op_profile import OpProfile

__all__ = [
    "dadiannao_cycles",
    "dcnn_cycles",
    "kept_products",
    "network_rows",
    "popcount_rows",
    "scnn_grid_rows",
    "scnn_rows",
]


def scnn_rows(network: list[Layer] = GOOGLENET) -> Iterator[Row]:
    """GoogLeNet's inception modules at synthetic densities."""
    dense = sum(map(dcnn_cycles, network))

    for density, published in ((1.0, 0.79), (0.85, 1.0), (0.1, 24.0)):
        what = f"GoogLeNet at {density}: speedup over dense"
        yield Row(
            "scnn", what, published, dense / scnn_total(network, density, density)
        )
    both = scnn_total(network, 0.4, 0.4)
    for name, a, w, published in (
        ("skipping activations alone", 0.4, 1.0, 2.6),
        ("skipping weights alone", 1.0, 0.4, 1.7),
    ):
        what = f"GoogLeNet at 0.4: speedup over {name}"
        yield Row("scnn", what, published, scnn_total(network, a, w) / both)


def scnn_total(network: list[Layer], density_in: float, density_weight: float) -> float:
    """SCNN's cycles on a whole network; the seed is fixed."""
    scnn = accelerators.create("scnn")
    drawn = (
        draw(
            layer,
            np.random.default_rng(i),
            density_in=density_in,
            density_weight=density_weight,
        )
        for i, layer in enumerate(network)
    )
    return sum(float(scnn.cycles(profile)) for profile in drawn)


def scnn_grid_rows(network: list[Layer] = GOOGLENET) -> Iterator[Row]:
    """Utilisation of 64 small elements and of 4 large ones, in percent.

    The paper's densities are GoogLeNet's own, which it prints in a figure only; here
    both operands are at 0.4.
    """
    for side, lanes, published in ((8, 4, 59), (2, 16, 35)):
        machine = accelerators.create(
            "scnn",
            pe_rows=side,
            pe_columns=side,
            activation_lanes=lanes,
            weight_lanes=lanes,
            accumulators=1024 * 64 // side**2,
        )
        busy = total = 0.0
        for i, layer in enumerate(network):
            rng = np.random.default_rng(i)
            op = draw(layer, rng, density_in=0.4, density_weight=0.4)
            busy += int(op.counts.effectual) / 1024
            total += float(machine.cycles(op))
        what = f"GoogLeNet at 0.4: utilisation of {side**2} elements, %"
        yield Row("scnn", what, published, 100 * busy / total)


def dcnn_cycles(layer: Layer, grid: int = 8, lanes: int = 16) -> float:
    """SCNN's dense twin: the same planar tiles on as many multipliers (assumed)."""
    side = math.ceil(layer.out / grid)
    return side**2 * layer.macs / layer.out**2 / lanes


def dadiannao_cycles(layer: Layer) -> float:
    """Cnvlutin's dense twin: one brick of 16 channels a cycle, 256 filters."""
    bricks = math.ceil(layer.channels / layer.groups / 16)
    filters = math.ceil(layer.filters / layer.groups / 256)
    windows = layer.out**2 * layer.kernel**2
    return float(windows * bricks * filters * layer.groups)


def network_rows() -> Iterator[Row]:
    """AlexNet and VGG16: input zeros measured, weights' densities from memory.

    What is published is a row per network for SCNN alone; otherwise the label says
    what stands in its place. SparTen's mean is next to the mean of the two as well.
    """
    over_dense, over_one_side = [], []
    for name, network, published in (
        ("AlexNet", ALEXNET, 2.37),
        ("VGG16", VGG16, 3.52),
    ):
        drawn = _drawn(network)
        spread = _drawn(network, spread=0.25)
        dense = sum(layer.macs for layer in network)
        bound = dense / kept_products(network, drawn)
        what = f"{name}: speedup over dense"
        model = _total(network, dcnn_cycles) / _cycles("scnn", drawn)
        yield Row("scnn", what, published, model)
        model = _total(network, dadiannao_cycles) / _cycles("cnvlutin", drawn)
        yield Row(
            "cnvlutin", f"{what} (mean of six networks, from memory)", 1.37, model
        )
        model = dense / 256 / _cycles("cambricon_x", drawn)
        label = f"{what} (bound: every zero weight skipped)"
        yield Row("cambricon_x", label, bound, model)
        kept = [_dense_weights(op) for op in spread]
        over_dense.append(dense / 1024 / _cycles("sparten", spread))
        over_one_side.append(_cycles("sparten", kept) / _cycles("sparten", spread))
        yield from _sparten(name, over_dense[-1], over_one_side[-1])
    yield from _sparten(
        "mean of both", *map(statistics.mean, (over_dense, over_one_side))
    )


def _sparten(name: str, over_dense: float, over_one_side: float) -> Iterator[Row]:
    what = f"{name}: speedup over dense (mean of three networks)"
    yield Row("sparten", what, 4.7, over_dense)
    label = "speedup over skipping activations alone (mean of three networks)"
    yield Row("sparten", f"{name}: {label}", 1.8, over_one_side)


def kept_products(network: Sequence[Layer], drawn: Sequence[OpProfile]) -> float:
    """Products with a nonzero weight, those with padding included."""
    pairs = zip(network, drawn, strict=True)
    return sum(layer.macs * float(op.weight.mean()) for layer, op in pairs)


def popcount_rows() -> Iterator[Row]:
    """SparTen's default against counting every popcount."""
    for name, network in (("AlexNet", ALEXNET), ("VGG16", VGG16)):
        drawn = _drawn(network, spread=0.25)
        exact = _cycles("sparten", drawn, exact=True)
        what = f"{name}: cycles (exact / expected)"
        yield Row("sparten", what, exact, _cycles("sparten", drawn))


def _dense_weights(op: OpProfile) -> OpProfile:
    return dataclasses.replace(op, weight=jnp.ones_like(op.weight))


def _drawn(network: Sequence[Layer], spread: float = 0.0) -> list[OpProfile]:
    return [draw(x, np.random.default_rng(0), spread=spread) for x in network]


def _cycles(preset: str, drawn: Sequence[OpProfile], **options: bool) -> float:
    machine = accelerators.create(preset, **options)
    return sum(float(machine.cycles(op)) for op in drawn)


def _total(network: Sequence[Layer], dense: Callable[[Layer], float]) -> float:
    return sum(map(dense, network))
