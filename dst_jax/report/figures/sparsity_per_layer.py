"""The figure of zeros per layer: in every activation map and in every kernel."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.layer_rows import draw_layers, layer_axes, stage_legend
from dst_jax.report.figures.style import styled
from dst_jax.report.run_results import RunResults, Zeros
from dst_jax.report.tables.per_layer import names

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """Zeros in every activation map and every kernel after each stage (Fig. 1).

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> maps, kernels = {"relu": Zeros(9, 10)}, {"fc": Zeros(6, 10)}
    >>> stage = StageResults(
    ...     "static", "pruned", {}, 8, activations=maps, weights=kernels
    ... )
    >>> left, right = draw(RunResults(Path("run"), (stage,))).axes
    >>> left.collections[-1].get_offsets().tolist()  # percent, row
    [[90.0, 0.0]]
    """
    maps = {s.title: _percent(s.activations) for s in run.stages}
    kernels = {s.title: _percent(s.weights) for s in run.stages}
    rows = max(len(names(maps.values())), len(names(kernels.values())))
    figure, left, right = layer_axes(rows)
    draw_layers(left, maps)
    left.set(title="Sparsity of activation maps", xlabel="zeros in the ReLU output, %")
    draw_layers(right, kernels)
    right.set(title="Sparsity of weights", xlabel="zeros in the kernel, %")
    for axes in (left, right):
        axes.set_xlim(-3, 103)
    stage_legend(figure, left)
    return figure


FIGURE = ReportFigure(
    name="sparsity_per_layer",
    title="Sparsity per layer",
    caption=(
        "The network's input is at the top; every row is a layer, every dot a stage."
    ),
    draw=draw,
)


def _percent(layers: Mapping[str, Zeros]) -> dict[str, float]:
    return {name: 100 * layer.sparsity for name, layer in layers.items()}
