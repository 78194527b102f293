"""The CSV files with a row a layer, a map, a kernel or a group of channels."""

from collections.abc import Callable, Iterator
from typing import Any

from dst_jax.report.accelerator_records import OperationRecord
from dst_jax.report.channel_records import shape_text
from dst_jax.report.csv_files.column import CsvColumn, CsvFile, part
from dst_jax.report.csv_files.stage_columns import STAGE_NAME
from dst_jax.report.run_results import RunResults

__all__ = ["ENERGY_PARTS", "LAYER_FILES"]

ENERGY_PARTS = (
    "mac",
    "gated",
    "scratchpad",
    "buffer",
    "dram",
    "static",
    "idle",
    "accumulator",
    "metadata",
    "crossbar",
)
"""Parts of the energy of an accelerator, as `dst_jax.cost` names them."""

_CHANNELS = (
    STAGE_NAME,
    CsvColumn("group", "", "first layer that makes these channels", part(1)),
    CsvColumn("whole", "count", "channels before any removal", lambda s, g, c: c.whole),
    CsvColumn("kept", "count", "channels that are left", lambda s, g, c: c.kept),
)
_ZEROS = (
    CsvColumn("zeros", "count", "elements that are zero", lambda s, n, z: z.zeros),
    CsvColumn("elements", "count", "all elements", lambda s, n, z: z.elements),
    CsvColumn("sparsity", "share", "zeros / elements", lambda s, n, z: z.sparsity),
)
_ACTIVATIONS = (
    STAGE_NAME,
    CsvColumn("map", "", "path of the activation map", part(1)),
    CsvColumn("examples", "count", "test images", lambda s, n, z: s.examples),
    *_ZEROS,
)
_UNIONS = (
    *_ACTIVATIONS[:3],
    CsvColumn("side", "count", "pixels or tokens", lambda s, n, z: s.union_tile),
    CsvColumn("zeros", "count", "tiles that are all zero", lambda s, n, z: z.zeros),
    CsvColumn("tiles", "count", "tiles of a channel", lambda s, n, z: z.elements),
    CsvColumn("sparsity", "share", "zeros / tiles", lambda s, n, z: z.sparsity),
)
_WEIGHTS = (
    STAGE_NAME,
    CsvColumn("kernel", "", "path of the kernel", part(1)),
    *_ZEROS,
    CsvColumn(
        "shape",
        "",
        "lengths of its axes, which are its channels",
        lambda stage, name, *_: shape_text(stage.shapes.get(name)),
    ),
)
_PRODUCTS = {
    "dense": "multiplications, those with padding included",
    "valid": "multiplications without those with padding",
    "by_activation": "valid ones whose activation is nonzero",
    "by_weight": "valid ones whose weight is nonzero",
    "effectual": "valid ones whose operands are both nonzero",
}
_MULTIPLICATIONS = (
    STAGE_NAME,
    CsvColumn("layer", "", "path of the layer", part(1)),
    CsvColumn(
        "examples",
        "count",
        "test images, over which is counted",
        lambda s, n, p: s.examples,
    ),
    *(
        CsvColumn(name, "count", meaning, lambda s, n, p, name=name: getattr(p, name))
        for name, meaning in _PRODUCTS.items()
    ),
)


def _of_operation(name: str) -> Callable[..., Any]:
    return lambda stage, label, record, layer, op: getattr(op, name)


_ACCELERATORS = (
    STAGE_NAME,
    CsvColumn("accelerator", "", "name of the accelerator", part(1)),
    CsvColumn("layer", "", "path of the layer; empty for all together", part(3)),
    CsvColumn(
        "examples",
        "count",
        "images that it is the mean of",
        lambda s, a, r, *_: r.examples,
    ),
    CsvColumn("mode", "", "sparse, mixed, or dense and why", _of_operation("mode")),
    CsvColumn("bound", "", "what takes longest", _of_operation("bound")),
    CsvColumn("cycles", "cycles/image", "total cycles", _of_operation("cycles")),
    CsvColumn("seconds", "s/image", "total time", _of_operation("seconds")),
    CsvColumn(
        "utilisation",
        "share",
        "multiplier slots that are used",
        _of_operation("utilisation"),
    ),
    CsvColumn(
        "dense", "multiplications/image", "all, with padding", _of_operation("dense")
    ),
    CsvColumn(
        "effectual",
        "multiplications/image",
        "those whose operands are both nonzero",
        _of_operation("effectual"),
    ),
    CsvColumn("dram_bytes", "bytes/image", "DRAM traffic", _of_operation("dram_bytes")),
    *(
        CsvColumn(
            f"energy_{key}",
            "energy_unit/image",
            f"energy, part {key}",
            lambda s, a, r, n, o, key=key: o.energy.get(key),
        )
        for key in ENERGY_PARTS
    ),
    CsvColumn("energy_unit", "", "unit of the energies", lambda s, a, r, *_: r.unit),
    CsvColumn("energy_table", "", "table of the energies", lambda s, a, r, *_: r.table),
)


def _by_name(name: str) -> Callable[[RunResults], Iterator[tuple[Any, ...]]]:
    return lambda run: (
        (stage, key, value)
        for stage in run.stages
        for key, value in getattr(stage, name).items()
    )


def _estimates(run: RunResults) -> Iterator[tuple[Any, ...]]:
    for stage in run.stages:
        for label, record in stage.accelerators.items():
            operations: dict[str, OperationRecord] = {"": record.total, **record.layers}
            for layer, operation in operations.items():
                yield stage, label, record, layer, operation


LAYER_FILES = (
    CsvFile("channels", lambda task: _CHANNELS, _by_name("channels")),
    CsvFile("activations", lambda task: _ACTIVATIONS, _by_name("activations")),
    CsvFile("union_sparsity", lambda task: _UNIONS, _by_name("tiles")),
    CsvFile("weights", lambda task: _WEIGHTS, _by_name("weights")),
    CsvFile("multiplications", lambda task: _MULTIPLICATIONS, _by_name("products")),
    CsvFile(
        "weight_multiplications",
        lambda task: _MULTIPLICATIONS,
        _by_name("weight_products"),
    ),
    CsvFile("accelerators", lambda task: _ACCELERATORS, _estimates),
)
