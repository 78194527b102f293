"""The table of a comparison of removals: a row per cell, over seeds."""

from collections.abc import Sequence

from dst_jax.report.looks import family
from dst_jax.report.tables.table import Table
from experiments.grid.records import Record, matching, spread
from experiments.grid.rows import Row, make_row, seeds, text
from experiments.running.quality import Quality

__all__ = ["rows", "table"]

_NOTE = (
    "Test set, read once per training; mean ± sample standard deviation over seeds."
    " MACs and parameters: of the baseline's. Drop: products that are left out of those"
    " of the dense baseline, padding not counted, because channels are gone or because"
    " an activation or a weight is 0; beyond ReLU: of those that the baseline's own"
    " zeros leave (1 - left / left by the baseline). Time: forward pass over that of"
    " the baseline, runs taking turns; it makes use of channels, not of zeros."
)


def rows(
    cells: Sequence[str],
    records: Sequence[Record],
    tests: Sequence[Record],
    quality: Quality,
) -> list[Row]:
    """A row per cell: every value with mean, spread and number of seeds.

    Args:
      cells: names, the baseline first.
      records: records of sizes and of the hold-out.
      tests: records of the test set.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> quality = quality_of(tasks.classification())
    >>> size = {"multiplications": 1.0, "parameters": 1.0, "forward_time": None}
    >>> records = [{"cell": name, "seed": 0} | size for name in ("baseline", "l2")]
    >>> def test(name, left):
    ...     counts = {"fc": {"valid": 100, "effectual": left}}
    ...     return {"cell": name, "seed": 0, "top1": 0.9, "layers": {"counts": counts}}
    >>> tests = [test("baseline", 50), test("l2", 20)]
    >>> found = rows(["baseline", "l2"], records, tests, quality)[1]
    >>> found["drop"]["mean"], found["beyond_relu"]["mean"]
    (0.8, 0.6)
    """
    baseline = {test["seed"]: test for test in matching(tests, cells[0])}

    def drop(kind: str, test: Record) -> float:
        return 1 - _sum(test, "effectual") / _sum(baseline[test["seed"]], kind)

    def row(cell: str) -> Row:
        trained, tested = matching(records, cell), matching(tests, cell)
        values = {
            quality.metric.name: spread(tested, quality),
            **{
                name: spread(trained, lambda record, name=name: record[name])
                for name in ("multiplications", "parameters")
            },
            "forward_time": spread(trained, _time),
            "drop": spread(tested, lambda test: drop("valid", test)),
            "beyond_relu": spread(tested, lambda test: drop("effectual", test)),
        }
        return make_row(cell, tested, values)

    return [row(cell) for cell in cells]


def table(rows: Sequence[Row], quality: Quality) -> Table:
    """The rows as text.

    Args:
      rows: what `rows` returned.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> half = {"mean": 0.5, "std": 0.0, "n": 1}
    >>> names = (
    ...     *("top1", "multiplications", "parameters", "forward_time", "drop"),
    ...     "beyond_relu",
    ... )
    >>> row = {"cell": "l2", "seeds": [0], **dict.fromkeys(names, half)}
    >>> table([row], quality_of(tasks.classification())).rows
    (('l2', '1', '50.00', '50.00', '50.00', '50.00', '50.00', '0.50'),)
    """
    lines = tuple(
        (
            row["cell"],
            seeds(row),
            text(row, quality.metric.name, quality.text),
            *(
                text(row, name)
                for name in ("multiplications", "parameters", "drop", "beyond_relu")
            ),
            f"{row['forward_time']['mean']:.2f}",
        )
        for row in rows
    )
    headings = (
        "cell",
        "seeds",
        quality.metric.heading,
        "MACs %",
        "parameters %",
        "drop %",
        "beyond ReLU %",
        "time",
    )
    return Table(
        "Channels removed",
        headings,
        lines,
        _NOTE,
        named={r["cell"]: family(r["cell"]) for r in rows},
    )


def _time(record: Record) -> float:
    found = record["forward_time"]
    return float("nan") if found is None else found


def _sum(test: Record, kind: str) -> int:
    return sum(count[kind] for count in test["layers"]["counts"].values())
