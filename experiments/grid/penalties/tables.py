"""The tables of a comparison."""

from collections.abc import Callable, Sequence

from dst_jax.report.looks import family
from dst_jax.report.tables.table import Table, named
from experiments.grid.penalties.choice import Choice, Criterion, sparsity
from experiments.grid.records import Record, matching, spread
from experiments.running.quality import Quality

__all__ = ["chosen", "grid", "layers"]


def chosen(
    choices: Sequence[Choice], tests: Sequence[Record], criterion: Criterion
) -> Table:
    """The test set's verdict on the baseline, the control and each penalty's choice.

    Args:
      choices: one per method.
      tests: records of the test set.
      criterion: what the choices follow.

    >>> shares = {"activation_sparsity": {"element": 0.6, "layer_mean": 0.5}}
    >>> shares |= {"top1": 0.9, "flops_drop": {"dense": 0.4, "valid": 0.3}}
    >>> shares |= {"drift": {"euclidean": 1.0, "cosine": 0.99}}
    >>> tests = [{"cell": cell, **shares} for cell in ("baseline", "control")]
    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> criterion = Criterion(quality_of(tasks.classification()), 0.001)
    >>> chosen([], tests, criterion).rows[0][:4]
    ('dense baseline', '', '90.00', '60.00')
    """
    quality = criterion.quality
    rows = [
        _row("dense baseline", "baseline", "", tests, quality),
        _row("dense control", "control", "", tests, quality),
        *(_chosen_row(choice, tests, quality) for choice in choices),
    ]
    return Table(
        title="Test set: each penalty at the strength that the hold-out chose",
        headings=(
            "penalty",
            "setting",
            quality.metric.heading,
            "activation sparsity %",
            "layer mean %",
            "FLOPs drop %",
            "of valid %",
            "distance",
            "cosine",
        ),
        rows=tuple(rows),
        note=(
            f"Mean ± sample standard deviation over seeds. {criterion} Distance and "
            "cosine: from the baseline's parameters."
        ),
        words=2,
        named=named(["dense baseline", "dense control"])
        | {
            row[0]: choice.setting.penalty
            for row, choice in zip(rows[2:], choices, strict=True)
        },
    )


def grid(
    choices: Sequence[Choice], records: Sequence[Record], quality: Quality
) -> Table:
    """The hold-out's verdict on every cell, averaged over seeds.

    Args:
      choices: one per method; they are marked.
      records: records of all cells.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> zeros = {"element": 0.6}
    >>> record = {"cell": "baseline", "top1": 0.9, "activation_sparsity": zeros}
    >>> grid([], [record], quality_of(tasks.classification())).rows
    (('baseline', '', '1', '90.00', '60.00'),)
    """
    ringed = {choice.setting.name for choice in choices}
    cells = dict.fromkeys(record["cell"] for record in records)
    rows = []
    for cell in cells:
        own = matching(records, cell)
        mark = "chosen" if cell in ringed else ""
        rows.append(
            (
                cell,
                mark,
                str(len(own)),
                spread(own, quality).text(quality.text),
                spread(own, sparsity).text(),
            )
        )
    return Table(
        title="Hold-out: all cells",
        headings=(
            "cell",
            "",
            "seeds",
            quality.metric.heading,
            "activation sparsity %",
        ),
        rows=tuple(rows),
        words=2,
        named={cell: family(cell) for cell in cells},
    )


def layers(cells: Sequence[str], tests: Sequence[Record]) -> Table:
    """Zeros of every map on the test set, in percent, averaged over seeds.

    The longer of the two goes down the page: cells, or a deep network's maps.

    Args:
      cells: names of the cells.
      tests: records of the test set.

    >>> maps = {"relu1": {"zeros": 3, "elements": 4}}
    >>> layers(["l1"], [{"cell": "l1", "layers": {"activations": maps}}]).rows
    (('l1', '75.00'),)
    """
    maps = list(tests[0]["layers"]["activations"])

    def share(name: str) -> Callable[[Record], float]:
        def of(record: Record) -> float:
            found = record["layers"]["activations"][name]
            return found["zeros"] / found["elements"]

        return of

    found = [
        [spread(matching(tests, cell), share(name)).text() for cell in cells]
        for name in maps
    ]
    corner, down, across, values = "map", maps, cells, found
    if len(cells) >= len(maps):
        corner, down, across = "cell", cells, maps
        values = [list(row) for row in zip(*found, strict=True)]
    rows = tuple((name, *row) for name, row in zip(down, values, strict=True))
    return Table(
        "Zeros per activation map, test set, %",
        (corner, *across),
        rows,
        named={cell: family(cell) for cell in cells},
    )


def _chosen_row(
    choice: Choice, tests: Sequence[Record], quality: Quality
) -> tuple[str, ...]:
    setting = choice.setting
    parts = [] if setting.strength is None else [f"{setting.strength:g}"]
    parts += [f"{name}={value:g}" for name, value in setting.options]
    if setting.budget is not None:
        parts.append(f"budget {setting.budget:g}")
    text = ", ".join(parts)
    name = setting.method + ("" if choice.matched else " *")
    return _row(name, setting.name, text, tests, quality)


def _row(
    name: str, cell: str, setting: str, tests: Sequence[Record], quality: Quality
) -> tuple[str, ...]:
    own = matching(tests, cell)

    def layer_mean(record: Record) -> float:
        return record["activation_sparsity"]["layer_mean"]

    def drift(kind: str) -> str:
        found = spread(own, lambda record: record["drift"][kind])
        return f"{found.mean:.3f}"

    return (
        name,
        setting,
        spread(own, quality).text(quality.text),
        spread(own, sparsity).text(),
        spread(own, layer_mean).text(),
        spread(own, lambda record: record["flops_drop"]["dense"]).text(),
        spread(own, lambda record: record["flops_drop"]["valid"]).text(),
        *((drift("euclidean"), drift("cosine")) if cell != "baseline" else ("-", "-")),
    )
