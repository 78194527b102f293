"""A figure of a report as a value: what it shows, when, and how it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from matplotlib.figure import Figure

from dst_jax.report.figures.style import png

__all__ = ["ReportFigure", "drawn"]

Subject = TypeVar("Subject")  # one run, or several


@dataclass(frozen=True)
class ReportFigure(Generic[Subject]):
    """A figure of a report; `{measure}` in its texts is the task's own word.

    Attributes:
      name: name of its PNG.
      title: heading above the figure.
      caption: text below the figure.
      draw: function that draws a run, or several.
      applies: Whether there is anything to draw.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Subject], Figure]
    applies: Callable[[Subject], bool] = lambda _: True


def drawn(
    figures: Sequence[ReportFigure[Subject]], subject: Subject
) -> dict[ReportFigure[Subject], bytes]:
    """The figures that apply, as PNG, in the given order.

    >>> square = ReportFigure("square", "A square", "", lambda _: Figure((1, 1)))
    >>> [(figure.name, image[1:4]) for figure, image in drawn([square], 1).items()]
    [('square', b'PNG')]
    """
    return {f: png(f.draw(subject)) for f in figures if f.applies(subject)}
