"""Draws docs/figures/penalties.png: value and slope of every penalty.

COMMAND
  python -m experiments.draw_penalties            a few seconds
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.running.command_line import parse, status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Options", "draw", "main"]

_SHAPES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "lp": ("p", (0.25, 0.5, 0.75)),
    "transformed_l1": ("a", (0.1, 1.0, 10.0)),
    "geman": ("gamma", (0.1, 1.0, 10.0)),
    "log_sum": ("eps", (0.01, 0.1, 1.0)),
    "laplace": ("gamma", (0.25, 1.0, 4.0)),
    "cauchy": ("gamma", (0.25, 1.0, 4.0)),
    "mcp": ("gamma", (1.5, 3.0, 6.0)),
    "scad": ("a", (2.5, 3.7, 6.0)),
    "capped_l1": ("theta", (0.5, 1.0, 2.0)),
    "l1_minus_l2": ("alpha", (0.25, 0.5, 1.0)),
}
"""A shape parameter and values of it; the other penalties are drawn once."""

_VECTORS = (
    "hoyer",
    "hoyer_square",
    "hoyer_square_batch",
    "l1_minus_l2",
    "group_lasso",
)
_LARGEST = 3.0


@dataclass(frozen=True)
class Options:
    """Where the figure goes."""

    path: Path = Path("docs/figures/penalties.png")
    """File that it is written to."""


def main(path: Path = Options.path) -> int:
    """Writes the figure; returns the exit status.

    Args:
      path: file that it is written to.

    >>> main(Path("/dev/null/penalties.png"))
    2
    """
    return status(lambda: path, _write)


def draw() -> "Figure":
    """A panel per penalty: value drawn through, slope dashed, over one entry."""
    from dst_jax.report.figures.style import styled

    return styled(_draw)()


def _write(path: Path) -> None:
    from dst_jax.report.figures.style import png

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(draw()))
    print(path)


def _draw() -> "Figure":
    from dst_jax import penalties
    from dst_jax.report.figures.style import subplots

    names = penalties.names()
    rows = -(-len(names) // 3)
    figure, panels = subplots(10.0, 2.1 * rows, ncols=3, nrows=rows, sharex=True)
    for name, axes in zip(names, panels, strict=False):
        _panel(axes, name)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[len(names) - 3 : len(names)]:
        axes.set_xlabel("entry s")
        axes.tick_params(labelbottom=True)
    figure.suptitle("Value (solid) and slope (dashed) above 0")
    return figure


def _panel(axes: "Axes", name: str) -> None:
    import jax
    import jax.numpy as jnp

    from dst_jax.report.figures.style import colours

    (shade,) = colours([name]).values()
    option, values = _SHAPES.get(name, ("", (0.0,)))
    s = jnp.linspace(0, _LARGEST, 601)[1:]  # the slope just above 0, not the one at 0
    for i, value in enumerate(values):
        of_entry = _of_entry(name, {option: value} if option else {})
        label = f"{value:g}" if i else f"{option} = {value:g}"
        look = {"color": shade, "alpha": 1.0 - i / (len(values) + 0.5)}
        axes.plot(s, jax.vmap(of_entry)(s), label=label, **look)
        slope = jax.vmap(jax.grad(of_entry))(s)
        axes.plot(s, slope, "--", linewidth=1.0, **look)
    axes.set_title(f"{name} of (s, 1)" if name in _VECTORS else name)
    axes.set_ylim(-0.75, 4.0)
    if option:  # next to the title, so that no curve is under it
        axes.legend(
            fontsize=7,
            loc="lower right",
            bbox_to_anchor=(1.02, 0.98),
            ncols=len(values),
            handlelength=0.8,
            handletextpad=0.4,
            columnspacing=0.7,
        )


def _of_entry(name: str, options: Mapping[str, float]) -> Callable:
    """The penalty as a function of one entry; vectors have a second one, 1."""
    import jax.numpy as jnp

    from dst_jax import penalties

    penalty = penalties.get(name, **options)
    if name in _VECTORS:
        return lambda s: penalty(jnp.stack([s, jnp.ones(())])[:, None])
    return lambda s: penalty(s[None])


if __name__ == "__main__":
    chosen = parse(Options, None, name="draw_penalties", doc=__doc__)
    sys.exit(main(chosen.path))
