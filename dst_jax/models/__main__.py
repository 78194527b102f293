"""Prints the layers of a network, or the groups of its channels.

    python -m dst_jax.models NAME [--width W] [--num-classes N] [--image-size S] ...
    python -m dst_jax.models NAME --channels

There is a row for every layer and every tap, with the output's shape, parameters,
multiplications (MACs, padding included) and elements of post-ReLU maps for one image,
and a row of totals. With --channels it says which channels can only be removed
together, and why others cannot be removed. Exit status: 0, or 2 with a message if there
is no such network.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dst_jax import channels
from dst_jax.activations.tap import COLLECTION
from dst_jax.models import registry
from dst_jax.models.summary import Layer, grouped, layers

__all__ = ["main"]

_LARGEST = {"image_size": 2**14, "num_classes": 2**24, "depth": 100}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status.

    >>> main(["lenet5", "--depth", "1"])  # doctest: +NORMALIZE_WHITESPACE
    layer ...
    total 44,426 ...
    0
    """
    given = _parser().parse_args(arguments)
    options = {"width": given.width, "stem": given.stem}
    options = {name: value for name, value in options.items() if value is not None}
    try:
        model, image = _network(given, options)
        if given.channels:
            print(_channels(model, image))
            return 0
        rows = layers(model, image)
        rows = rows if given.depth is None else grouped(rows, given.depth)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console, table = Console(), _table(rows)
    endless = console.options.update(width=10_000)
    console.width = max(console.width, Measurement.get(console, endless, table).maximum)
    console.print(table)
    return 0


def _network(
    given: argparse.Namespace, options: dict[str, Any]
) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network, and height, width and channels of its image."""
    classes, (height, width, depth) = registry.task(given.name, stem=given.stem)
    for option, largest in _LARGEST.items():
        value, name = getattr(given, option), option.replace("_", "-")
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
        if value is not None and value > largest:
            raise ValueError(f"--{name} must be at most {largest}, got {value}")
    if given.image_size is not None:
        height = width = given.image_size
    if given.num_classes is not None:
        classes = given.num_classes
    model = registry.create(given.name, num_classes=classes, **options)
    return model, (height, width, depth)


def _channels(model: nn.Module, image: tuple[int, int, int]) -> str:
    """What `channels.groups` finds, in words."""
    x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    variables = dict(jax.eval_shape(model.init, jax.random.key(0), x))
    variables.pop(COLLECTION, None)
    return channels.groups(model.apply)(variables, x).explain()


def _table(rows: Sequence[Layer]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_footer=True
    )
    cells = [_cells(row) for row in rows]
    totals = [sum(values) for values in zip(*map(_numbers, rows), strict=True)]
    footers = ["total", "", *(f"{total:,}" for total in totals)]
    headings = ("layer", "output", "parameters", "MACs", "activations")
    columns = zip(headings, footers, zip(*cells, strict=True), strict=True)
    for heading, footer, column in columns:
        width = max(map(len, (heading, footer, *column)))
        justify = "left" if heading in ("layer", "output") else "right"
        table.add_column(heading, footer=footer, justify=justify, min_width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _cells(row: Layer) -> list[str]:
    numbers = [f"{number:,}" if number else "" for number in _numbers(row)]
    return [row.name or "(network)", " x ".join(map(str, row.shape)), *numbers]


def _numbers(row: Layer) -> tuple[int, int, int]:
    return row.parameters, row.macs, row.activations


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dst_jax.models",
        description="Print a network's layers, shapes, parameters, MACs and maps, or"
        " which of its channels can only be removed together.",
    )
    names = ", ".join(registry.names())
    parser.add_argument("name", metavar="NAME", help=f"one of: {names}")
    parser.add_argument("--width", type=float, help="factor on the channels")
    parser.add_argument("--stem", help="imagenet or cifar")
    parser.add_argument(
        "--num-classes", type=int, help="outputs (default: as published)"
    )
    parser.add_argument("--image-size", type=int, help="pixels (default: as published)")
    parser.add_argument(
        "--depth", type=int, help="number of leading parts of the names to sum over"
    )
    parser.add_argument(
        "--channels",
        action="store_true",
        help="print the groups of channels in place of the layers",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
