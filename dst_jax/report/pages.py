"""The two documents: the report of one run, the comparison of several."""

from collections.abc import Mapping, Sequence

from dst_jax.report import html
from dst_jax.report.results import Results
from dst_jax.report.tables import accelerators as machine_tables
from dst_jax.report.tables import comparison
from dst_jax.report.tables import layers as layer_tables
from dst_jax.report.tables import stages as stage_tables
from dst_jax.report.tables.table import percent, signed

__all__ = ["FIGURES", "comparison_page", "run_page", "unfinished_note"]

FIGURES = {
    "sparsity_per_layer": (
        "Sparsity per layer",
        "The network's input is at the top; every row is a layer, every dot a stage.",
    ),
    "training": (
        "Accuracy and sparsity over training",
        "Phases one after another in the order of the log; a dotted line marks where "
        "one starts. Diamonds: the test images, at the end of a stage. The accuracy "
        "axis starts at most 20 points below the lowest of them.",
    ),
    "flops_per_layer": (
        "FLOPs per layer",
        "A multiplication remains if neither its activation nor its weight is zero. "
        "Dense counts products with padding too; they never remain.",
    ),
    "masks": (
        "Masks of sparse training",
        "What the method kept, and the shares of the kept weights that the latest "
        "update had grown and dropped. Explored: weights that were ever kept.",
    ),
    "speed_up": (
        "Speed-up on modelled accelerators",
        "Cycles of the first stage's network over those of a later one, on the same "
        "machine. A machine that cannot use a kind of sparsity shows none for it.",
    ),
    "rooflines": (
        "Rooflines",
        "A dot is a layer, the larger the more cycles it takes. Under the slope the "
        "memory sets the time, under the level the multipliers do.",
    ),
    "energy_by_part": (
        "Energy by part",
        "Multipliers, gated multipliers, the memories beside them, the on-chip "
        "buffer, DRAM and what flows whatever is computed.",
    ),
    "comparison_accuracy": (
        "Accuracy against activation sparsity",
        "A colour for each run, a marker for each stage; a line leads from the dense "
        "baseline through the stages built on it.",
    ),
    "comparison_flops": (
        "FLOPs drop",
        "Bars: of the dense multiplications, padding included. The mark on a bar: of "
        "the valid ones, without padding.",
    ),
}


def run_page(results: Results, figures: Mapping[str, bytes]) -> str:
    """The report of one run.

    Args:
      results: the run.
      figures: PNG by a name of `FIGURES`, shown in this order.
    """
    body = (
        html.heading(results.name, level=1),
        html.paragraph(unfinished_note(results), "warning"),
        html.paragraph(_headline(results), "lead"),
        html.table(stage_tables.stages(results)),
        html.table(machine_tables.on_machines(results)),
        *_figures(figures),
        html.table(stage_tables.drift(results)),
        html.table(stage_tables.training(results)),
        html.table(stage_tables.facts(results)),
        html.heading("Details"),
        html.details(layer_tables.maps(results)),
        html.details(layer_tables.kernels(results)),
        *(html.details(layer_tables.products(s)) for s in results.stages),
        *(
            html.details(machine_tables.per_layer(results, name))
            for name in machine_tables.machine_names(results)
        ),
        html.details(stage_tables.settings(results)),
    )
    return html.page(results.name, "\n".join(part for part in body if part))


def comparison_page(runs: Sequence[Results], figures: Mapping[str, bytes]) -> str:
    """Several runs side by side; arguments as in `run_page`."""
    title = f"{len(runs)} runs side by side"
    body = (
        html.heading(title, level=1),
        *(
            html.paragraph(f"{name}: {unfinished_note(run)}", "warning")
            for name, run in zip(comparison.run_names(runs), runs, strict=True)
            if run.unfinished
        ),
        html.table(comparison.side_by_side(runs)),
        html.table(comparison.over_seeds(runs)),
        *_figures(figures),
        html.table(comparison.differences(runs)),
    )
    return html.page(title, "\n".join(part for part in body if part))


def unfinished_note(results: Results) -> str:
    """What an unfinished run lacks; empty for a finished one."""
    if not results.unfinished:
        return ""
    return f"Unfinished: {', '.join(results.unfinished)} not written yet."


def _headline(results: Results) -> str:
    last = results.stages[-1]
    text = (
        f"{last.title[:1].upper()}{last.title[1:]}: "
        f"{percent(last.weight_sparsity)} % of the weights and "
        f"{percent(last.activation_element)} % of the activations are zero, "
        f"which saves {percent(last.drop_dense)} % of the multiplications, "
        f"at {percent(last.test.top1)} % top-1 accuracy"
    )
    if results.baseline is None or last is results.baseline:
        return f"{text}."
    difference = signed(last.test.top1 - results.baseline.test.top1)
    return f"{text} ({difference} points against the dense baseline)."


def _figures(figures: Mapping[str, bytes]) -> list[str]:
    return [html.figure(*FIGURES[name], png) for name, png in figures.items()]
