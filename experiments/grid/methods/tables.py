"""The table of a comparison of methods: a row per method, over seeds."""

from collections.abc import Sequence

from dst_jax.report.looks import family
from dst_jax.report.tables.table import Table
from experiments.grid.records import Record, matching, spread
from experiments.grid.rows import Row, make_row, seeds, text
from experiments.running.quality import Quality

__all__ = ["rows", "table"]

_NOTE = (
    "Test set, read once per training; mean ± sample standard deviation over seeds."
    " Sparsity: zeros of the prunable weights that the network has, shared ones at"
    " every use; one that lost channels has fewer zeros. MACs: multiply-adds with kept"
    " weights over those of the dense network, for inference without padding; in"
    " training as pruning.training_flops counts them, averaged over the training;"
    " counted: those without a zero weight, activation or gradient. Time:"
    " seconds of a step over those of dense training, as measured in this run; nothing"
    " here makes use of the zeros. Forward time: of a network that lost channels over"
    " that of the dense one, runs taking turns."
)


def rows(
    cells: Sequence[str],
    records: Sequence[Record],
    tests: Sequence[Record],
    quality: Quality,
) -> list[Row]:
    """A row per cell: every value with mean, spread and number of seeds.

    Args:
      cells: names, the dense one first.
      records: records of training and hold-out.
      tests: records of the test set.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> quality = quality_of(tasks.classification())
    >>> seed = {"cell": "dense", "seed": 0}
    >>> cost = {"method": "dense", "training_macs": 1.0, "images_per_second": 9.0}
    >>> counts = {"fc": {"by_weight": 5, "valid": 10}}
    >>> test = {"weight_sparsity": 0.5, "top1": 0.9, "layers": {"counts": counts}}
    >>> (row,) = rows(["dense"], [seed | cost], [seed | test], quality)
    >>> row["top1"]["mean"], row["inference_macs"]["mean"]
    (0.9, 0.5)
    """
    dense = {record["seed"]: record for record in matching(records, cells[0])}

    def slowdown(record: Record) -> float:
        own, reference = record["images_per_second"], dense[record["seed"]]
        if own is None or reference["images_per_second"] is None:
            return float("nan")  # too short to be timed
        return reference["images_per_second"] / own

    timed = any(record.get("forward_time") is not None for record in records)
    counted = all(record.get("training_counted") is not None for record in records)
    whole = {
        test["seed"]: _products(test, "valid") for test in matching(tests, cells[0])
    }

    def row(cell: str) -> Row:
        trained, tested = matching(records, cell), matching(tests, cell)
        values = {
            "sparsity": spread(tested, lambda test: test["weight_sparsity"]),
            quality.metric.name: spread(tested, quality),
            "inference_macs": spread(
                tested, lambda test: _products(test, "by_weight") / whole[test["seed"]]
            ),
            "training_macs": spread(trained, lambda r: r["training_macs"]),
            **(
                {"training_counted": spread(trained, lambda r: r["training_counted"])}
                if counted
                else {}
            ),
            "step_time": spread(trained, slowdown),
        }
        if timed:
            values["forward_time"] = spread(trained, _forward_time)
        return make_row(cell, tested, values, method=trained[0]["method"])

    return [row(cell) for cell in cells]


def table(rows: Sequence[Row], quality: Quality) -> Table:
    """The rows as text.

    Args:
      rows: what `rows` returned.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> half = {"mean": 0.5, "std": 0.0, "n": 1}
    >>> names = "sparsity", "top1", "inference_macs", "training_macs", "step_time"
    >>> row = {"method": "rigl", "seeds": [0], **dict.fromkeys(names, half)}
    >>> table([row], quality_of(tasks.classification())).rows
    (('rigl', '1', '50.00', '50.00', '50.00', '50.00', '0.50'),)
    """
    timed = any("forward_time" in row for row in rows)
    counted = any("training_counted" in row for row in rows)
    lines = tuple(
        (
            row["method"],
            seeds(row),
            text(row, "sparsity"),
            text(row, quality.metric.name, quality.text),
            text(row, "inference_macs"),
            text(row, "training_macs"),
            *([text(row, "training_counted")] if counted else []),
            f"{row['step_time']['mean']:.2f}",
            *([f"{row['forward_time']['mean']:.2f}"] if timed else []),
        )
        for row in rows
    )
    headings = (
        "method",
        "seeds",
        "sparsity %",
        quality.metric.heading,
        "inference MACs %",
        "training MACs %",
        *(["counted %"] if counted else []),
        "time of a step",
        *(["forward time"] if timed else []),
    )
    return Table(
        "Sparse training from scratch",
        headings,
        lines,
        _NOTE,
        named={row["method"]: family(row["method"]) for row in rows},
    )


def _products(test: Record, kind: str) -> int:
    """All multiplications of a kind, see `dst_jax.cost`."""
    return sum(count[kind] for count in test["layers"]["counts"].values())


def _forward_time(record: Record) -> float:
    """1 of a network with all of its channels."""
    found = record.get("forward_time")
    return 1.0 if found is None else found
