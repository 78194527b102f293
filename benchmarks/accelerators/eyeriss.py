"""The Eyeriss models against the chips: DRAM words, energy fits, time."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.accelerators.comparison import Row
from benchmarks.accelerators.networks import ALEXNET, VGG16, Layer, draw
from benchmarks.accelerators.published import (
    EYERISS_DRAM_WORDS,
    EYERISS_LAYERS,
    EyerissLayer,
)
from dst_jax.cost import accelerators
from dst_jax.cost.estimates import energy, traffic
from dst_jax.cost.storage import formats

__all__ = [
    "dram_ratio_rows",
    "energy_rows",
    "fit",
    "fit_errors",
    "leave_one_out",
    "one_pass_rows",
    "run_length_bits",
    "time_rows",
    "traffic_rows",
]

LAYERS = {layer.name: layer for layer in ALEXNET + VGG16}
# Densities of AlexNet's outputs in the Sparseloop artifact; VGG16's next input.
OUTPUTS = {"A1": 0.378, "A2": 0.169, "A3": 0.303, "A4": 0.304, "A5": 0.1}


def run_length_bits(density: float, rng: np.random.Generator) -> float:
    """Bits per element of random zeros in Eyeriss' run-length code."""
    mask = jnp.asarray(rng.random(1 << 18, np.float32) < density)
    return int(formats.run_length(mask, value_bits=16, run_bits=5)) / mask.size


def dram_ratio_rows() -> Iterator[Row]:
    """Dense over compressed DRAM words of AlexNet's layers, from Sparseloop."""
    rng = np.random.default_rng(0)
    for layer in EYERISS_DRAM_WORDS:
        passes = layer.input_reads, layer.weight_reads
        sizes = [16 * n for n in (layer.inputs, layer.weights, layer.outputs)]
        # The image is not compressed.
        coded_in = (
            16 if layer.name == "conv1" else run_length_bits(layer.density_in, rng)
        )
        coded = (
            layer.inputs * coded_in,
            sizes[1],
            layer.outputs * run_length_bits(layer.density_out, rng),
        )
        dense, compressed = (
            float(
                traffic.dram(*bits, activation_buffer=1, weight_buffer=1, passes=passes)
            )
            for bits in (sizes, coded)
        )
        what = f"{layer.name}: DRAM words, dense / compressed"
        yield Row("eyeriss_v1", what, layer.ratio, dense / compressed)


def one_pass_rows() -> Iterator[Row]:
    """Megabytes to and from DRAM: the lower bound against the chip."""
    rng = np.random.default_rng(0)
    for i, row in enumerate(EYERISS_LAYERS):
        bits = traffic.one_pass(*_stored_bits(i, rng))
        yield Row("eyeriss_v1", f"{row.name}: DRAM MB", row.dram_mb, bits / 8e6)


def traffic_rows() -> Iterator[Row]:
    """Megabytes that the accelerator moves, by its buffers and tiles."""
    rng, machine = np.random.default_rng(0), _machine()
    moved: dict[str, list[float]] = {"A": [0, 0, 0, 0], "V": [0, 0, 0, 0]}
    for i, row in enumerate(EYERISS_LAYERS):
        layer, bits = LAYERS[row.name], _stored_bits(i, rng)
        dram = traffic.dram(
            *bits,
            activation_buffer=8 * machine.activation_buffer,
            weight_buffer=8 * machine.weight_buffer,
        )
        filters = layer.filters / layer.groups
        buffer = traffic.sram(
            *bits,
            activation_reads=np.ceil(filters / machine.tile_filters),
            weight_reads=np.ceil(_batch(row) * layer.out**2 / machine.tile_rows),
            psums=_psum_bits(machine, layer, _batch(row)),
        )
        numbers = row.dram_mb, float(dram) / 8e6, row.buffer_mb, float(buffer) / 8e6
        sums = moved[row.name[0]]
        sums[:] = [a + b for a, b in zip(sums, numbers, strict=True)]
    for name, sums in (("AlexNet", moved["A"]), ("VGG16", moved["V"])):
        yield Row("eyeriss_v1", f"{name}: DRAM MB of the preset", *sums[:2])
        yield Row("eyeriss_v1", f"{name}: buffer MB of the preset", *sums[2:])


def _psum_bits(machine: Any, layer: Layer, batch: int) -> float:
    passes = np.ceil(layer.channels / layer.groups / machine.tile_channels)
    outputs = batch * layer.out**2 * layer.filters
    return 2 * (passes - 1) * outputs * machine.value_bits


def _stored_bits(i: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Activation, weight and output of one of the measured layers, all images."""
    row = EYERISS_LAYERS[i]
    layer, batch = LAYERS[row.name], _batch(row)
    following = EYERISS_LAYERS[min(i + 1, len(EYERISS_LAYERS) - 1)].density_in
    density_out = OUTPUTS.get(row.name, following)
    inputs = batch * layer.size**2 * layer.channels
    outputs = batch * layer.out**2 * layer.filters
    return (
        inputs * min(16, run_length_bits(row.density_in, rng)),
        16 * int(np.prod(layer.weight_shape)),
        outputs * min(16, run_length_bits(density_out, rng)),
    )


def energy_rows() -> Iterator[Row]:
    """Millijoules of the chip without DRAM, by the table that was fitted to them."""
    table = energy.create("eyeriss_v1_fit")
    for row in EYERISS_LAYERS:
        actions = energy.Actions(
            executed=row.gigamacs * row.density_in,
            gated=row.gigamacs * (1 - row.density_in),
            buffer_bits=8e-3 * row.buffer_mb,
            dram_bits=0.0,
            seconds=1e-12 * row.milliseconds,
        )
        # Giga-actions at pJ are mJ; so are milliseconds, scaled alike, at W.
        model = energy.split(table, actions).total
        yield Row("eyeriss_v1", f"{row.name}: mJ", row.millijoules, float(model))


def fit(rows: list[EyerissLayer]) -> np.ndarray:
    """Least squares in relative error: W, pJ a product, a gated one, pJ a byte."""
    features, joules = _features(rows)
    relative = features / joules[:, None]
    return np.linalg.lstsq(relative, np.ones(len(rows)), rcond=None)[0]


def fit_errors(train: list[EyerissLayer], test: list[EyerissLayer]) -> np.ndarray:
    """Relative errors on `test` of the table fitted to `train`."""
    features, joules = _features(test)
    return features @ fit(train) / joules - 1


def leave_one_out() -> np.ndarray:
    """Relative error on every layer of the table fitted to the other 17."""
    rows = EYERISS_LAYERS
    errors = [fit_errors(rows[:i] + rows[i + 1 :], [row]) for i, row in enumerate(rows)]
    return np.concatenate(errors)


def time_rows() -> Iterator[Row]:
    """Milliseconds of the convolutions; the utilisation is AlexNet's."""
    machine = _machine()
    for name, network, prefix in (("AlexNet", ALEXNET, "A"), ("VGG16", VGG16, "V")):
        rows = [row for row in EYERISS_LAYERS if row.name.startswith(prefix)]
        published = sum(row.milliseconds for row in rows)
        total = sum(_milliseconds(machine, x, _batch(rows[0])) for x in network)
        yield Row("eyeriss_v1", f"{name}: ms of the convolutions", published, total)


def _machine() -> Any:
    return accelerators.create("eyeriss_v1")


def _milliseconds(machine: accelerators.Accelerator, x: Layer, batch: int) -> float:
    ones = draw(x, np.random.default_rng(0), density_in=1, density_weight=1)
    return 1e3 * batch * float(machine.cycles(ones)) / machine.clock


def _features(rows: list[EyerissLayer]) -> tuple[np.ndarray, np.ndarray]:
    columns = [
        (
            row.milliseconds,
            row.gigamacs * row.density_in,
            row.gigamacs * (1 - row.density_in),
            1e-3 * row.buffer_mb,
        )
        for row in rows
    ]
    return np.array(columns), np.array([row.millijoules for row in rows])


def _batch(row: EyerissLayer) -> int:
    return 4 if row.name.startswith("A") else 3
