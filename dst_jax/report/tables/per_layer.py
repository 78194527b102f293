"""The tables per layer: sparsity of maps and kernels, multiplications."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from dst_jax.report.run_results import Products, RunResults, StageResults, Zeros
from dst_jax.report.tables.table import Table, named, number, percent

__all__ = ["kernels", "maps", "names", "products", "unions", "weight_products"]

T = TypeVar("T")


def maps(run: RunResults) -> Table:
    """Sparsity of every ReLU output after every stage.

    >>> from pathlib import Path
    >>> stage = StageResults(
    ...     "static", "pruned", {}, 8, activations={"relu": Zeros(60, 80)}
    ... )
    >>> maps(RunResults(Path("run"), (stage,))).rows
    (('relu', '10', '75.00'),)
    """
    return _sparsity(
        run,
        "Activation sparsity per layer",
        "elements / image",
        lambda stage: stage.activations,
        lambda stage, zeros: number(zeros.elements / stage.examples),
    )


def unions(run: RunResults) -> Table:
    """The share of tiles in which a channel of a map is zero, after every stage.

    >>> from pathlib import Path
    >>> stage = StageResults("static", "pruned", {}, 8, tiles={"relu": Zeros(16, 64)})
    >>> unions(RunResults(Path("run"), (stage,))).rows
    (('relu', '8', '25.00'),)
    """
    side = max((stage.union_tile for stage in run.stages), default=0)
    table = _sparsity(
        run,
        "Union sparsity per layer",
        "tiles / image",
        lambda stage: stage.tiles,
        lambda stage, tiles: number(tiles.elements / stage.examples),
    )
    return replace(
        table,
        note=(
            "Tiles of one channel whose elements are all zero: tiles of "
            f"{side} x {side} pixels, or of {side} tokens, that do not overlap. The "
            "difference from the activation sparsity is scattered, so that hardware "
            "that skips whole tiles cannot skip it."
        ),
    )


def kernels(run: RunResults) -> Table:
    """Sparsity of every weight kernel after every stage.

    Where a stage has made layers smaller, their sizes at its end have a column too.

    >>> from pathlib import Path
    >>> stage = StageResults(
    ...     "static", "pruned", {}, 8, weights={"fc/kernel": Zeros(60, 80)}
    ... )
    >>> kernels(RunResults(Path("run"), (stage,))).rows
    (('fc/kernel', '80', '75.00'),)
    """
    return _sparsity(
        run,
        "Weight sparsity per layer",
        "weights",
        lambda stage: stage.weights,
        lambda _, zeros: number(zeros.elements),
    )


def products(stage: StageResults) -> Table:
    """Multiplications of every layer after one stage, and what is left of them.

    >>> fc = Products(4000, 4000, 2000, 1600, 800)
    >>> stage = StageResults("static", "pruned", {}, 8, products={"fc": fc})
    >>> products(stage).rows[0]
    ('fc', '500', '100.00', '50.00', '40.00', '20.00', '100')
    """
    total = Products(
        *(
            sum(getattr(p, field) for p in stage.products.values())
            for field in Products.__dataclass_fields__
        )
    )
    rows = [*stage.products.items(), ("all layers", total)]
    return Table(
        title=f"Multiplications per layer: {stage.title}",
        headings=(
            "layer",
            "dense MACs / image",
            "without padding %",
            "activation nonzero %",
            "weight nonzero %",
            "both nonzero %",
            "both nonzero, MACs / image",
        ),
        rows=tuple(
            (
                name,
                number(p.dense / stage.examples),
                *(
                    percent(part / p.dense if p.dense else None)
                    for part in (p.valid, p.by_activation, p.by_weight, p.effectual)
                ),
                number(p.effectual / stage.examples),
            )
            for name, p in rows
        ),
        note=(
            "Shares are of the dense multiplications, padding included; every "
            "other column leaves out the products with padding."
        ),
        totals=1,
    )


def weight_products(stage: StageResults) -> Table:
    """Multiplications of two weights after one stage, which no total includes.

    >>> fold = Products(4000, 4000, 800, 4000, 800)
    >>> stage = StageResults("static", "pruned", {}, 8, weight_products={"ab": fold})
    >>> weight_products(stage).rows[0]
    ('ab', '4,000', '20.00', '800')
    """
    return Table(
        title=f"Multiplications of two weights: {stage.title}",
        headings=("layer", "dense MACs", "both nonzero %", "both nonzero, MACs"),
        rows=tuple(
            (
                name,
                number(p.dense),
                percent(p.effectual / p.dense if p.dense else None),
                number(p.effectual),
            )
            for name, p in stage.weight_products.items()
        ),
        note=(
            "In one pass over the test images, once a batch. They do not depend on the "
            "images and can be done ahead: no total and no drop includes them."
        ),
    )


def names(layers: Iterable[Mapping[str, T]]) -> list[str]:
    """Every name in any of the mappings, in order of first appearance.

    >>> names([{"conv1": 1, "fc": 2}, {"conv1": 3, "conv2": 4}])
    ['conv1', 'fc', 'conv2']
    """
    return list(dict.fromkeys(name for layer in layers for name in layer))


def _sparsity(
    run: RunResults,
    title: str,
    size_heading: str,
    layers: Callable[[StageResults], Mapping[str, Zeros]],
    size: Callable[[StageResults, Zeros], str],
) -> Table:
    stages = run.stages
    titles = [stage.title for stage in stages]
    found = names(layers(s) for s in stages)

    def sizes(stage: StageResults) -> dict[str, str]:
        return {name: size(stage, zeros) for name, zeros in layers(stage).items()}

    every = {name: text for s in reversed(stages) for name, text in sizes(s).items()}
    columns = {size_heading: every}
    if any(sizes(s).items() - every.items() for s in stages):
        columns, before = {}, {}
        for s in stages:
            if sizes(s) != before:
                columns[f"{size_heading}, {s.title}"] = before = sizes(s)

    def row(name: str) -> tuple[str, ...]:
        shares = (
            layers(s)[name].sparsity if name in layers(s) else None for s in stages
        )
        own = (column.get(name, "-") for column in columns.values())
        return name, *own, *map(percent, shares)

    return Table(
        title=title,
        headings=("layer", *columns, *(f"{title} %" for title in titles)),
        rows=tuple(map(row, found)),
        named=named(titles, "{} %") | named(titles, f"{size_heading}, {{}}"),
    )
