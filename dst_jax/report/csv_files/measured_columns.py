"""The CSV files of what is measured on request: cost of training, storage."""

from collections.abc import Iterator
from typing import Any

from dst_jax.report.csv_files.column import CsvColumn, CsvFile, part
from dst_jax.report.csv_files.stage_columns import STAGE_NAME
from dst_jax.report.run_results import RunResults

__all__ = ["FORMATS", "MEASURED_FILES"]

FORMATS = (
    *("dense", "bitmask", "two_level_bitmask", "zvc", "csr", "coo"),
    *("run_length_4", "run_length_5", "n_m_2_4"),
)
"""Storage formats, as `dst_jax.cost` names them."""

_TRAINING = (
    STAGE_NAME,
    CsvColumn("layer", "", "path of the layer", part(2)),
    CsvColumn(
        "part", "", "forward, input_gradient or weight_gradient of the step", part(3)
    ),
    CsvColumn("steps", "count", "training steps", lambda s, c, *_: c.steps),
    CsvColumn("counted", "count", "steps counted whole", lambda s, c, *_: c.counted),
    CsvColumn("examples", "count", "images of a step", lambda s, c, *_: c.examples),
    CsvColumn(
        "valid",
        "multiplications",
        "of dense training, without padding",
        lambda s, c, n, p, cost: cost.valid,
    ),
    CsvColumn(
        "by_weight",
        "multiplications",
        "those of kept weights",
        lambda s, c, n, p, cost: cost.by_weight,
    ),
    CsvColumn(
        "effectual",
        "multiplications",
        "those without a zero weight, activation or gradient",
        lambda s, c, n, p, cost: cost.effectual,
    ),
)
_STORAGE = (
    STAGE_NAME,
    CsvColumn("kind", "", "weight, or map of activations", lambda s, t: t.kind),
    CsvColumn("tensor", "", "path of the leaf or of the map", lambda s, t: t.name),
    CsvColumn("examples", "count", "images that a map is of", lambda s, t: t.examples),
    CsvColumn("elements", "count", "all elements", lambda s, t: t.elements),
    CsvColumn("nonzeros", "count", "those that are not zero", lambda s, t: t.nonzeros),
    CsvColumn("value_bits", "bits", "bits of a value", lambda s, t: t.value_bits),
    CsvColumn("smallest", "", "format of fewest bits", lambda s, t: t.format),
    *(
        CsvColumn(
            f"bits_{name}",
            "bits",
            f"its size as {name}",
            lambda s, t, name=name: t.bits.get(name),
        )
        for name in FORMATS
    ),
)


def _training(run: RunResults) -> Iterator[tuple[Any, ...]]:
    for stage in run.stages:
        cost = run.training.get(stage.name)
        for layer, parts in cost.layers.items() if cost else ():
            for name, own in parts.items():
                yield stage, cost, layer, name, own


def _storage(run: RunResults) -> Iterator[tuple[Any, ...]]:
    return ((stage, tensor) for stage in run.stages for tensor in stage.storage)


MEASURED_FILES = (
    CsvFile("training", lambda task: _TRAINING, _training),
    CsvFile("storage", lambda task: _STORAGE, _storage),
)
