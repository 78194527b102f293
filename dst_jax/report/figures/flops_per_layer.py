"""The figure of multiplications per layer: which share remains, and how many."""

from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.layer_rows import draw_layers, layer_axes, stage_legend
from dst_jax.report.figures.style import BAR, styled
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.per_layer import names

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """Multiplications with both operands nonzero, per layer and stage (Fig. 5).

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import Products, StageResults
    >>> fc = Products(4000, 4000, 2000, 1600, 800)
    >>> stage = StageResults(
    ...     "static", "pruned", {"top1": 0.9}, 8, products={"fc": fc}
    ... )
    >>> left, right = draw(RunResults(Path("run"), (stage,))).axes
    >>> left.collections[-1].get_offsets().tolist()  # percent, row
    [[20.0, 0.0]]
    """
    shares = {
        s.title: {name: 100 * p.remaining for name, p in s.products.items()}
        for s in run.stages
    }
    macs = {
        s.title: {
            name: p.effectual / s.examples / 1e6 for name, p in s.products.items()
        }
        for s in run.stages
    }
    dense = {
        name: p.dense / s.examples / 1e6
        for s in reversed(run.stages)
        for name, p in s.products.items()
    }
    layers = names(macs.values())
    figure, left, right = layer_axes(len(layers))
    draw_layers(left, shares)
    left.set(
        title="Multiplications that remain, share",
        xlabel="both operands nonzero, % of dense",
    )
    left.set_xlim(-3, 103)
    rows = range(len(layers))
    right.barh(rows, [dense[n] for n in layers], color=BAR, label="dense network")
    draw_layers(right, macs)
    right.set(
        title="Multiplications that remain, number",
        xlabel="both operands nonzero, million per image",
    )
    right.set_xlim(left=0)
    right.set_yticklabels([])
    stage_legend(figure, right)
    return figure


FIGURE = ReportFigure(
    name="flops_per_layer",
    title="FLOPs per layer",
    caption=(
        "A multiplication remains if neither its activation nor its weight is zero. "
        "Dense counts products with padding too; they never remain."
    ),
    draw=draw,
)
