"""The two documents: the report of one run, the comparison of several."""

from collections.abc import Mapping, Sequence
from typing import Any

from dst_jax.report import html
from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables import above_figures, below_figures, comparison, unfolding
from dst_jax.report.tables.channels import multiplications_left
from dst_jax.report.tables.main_results import difference, metric_text
from dst_jax.report.tables.table import percent, signed
from dst_jax.report.task_records import Metric, TaskRecord, shared_task

__all__ = ["comparison_page", "run_page", "unfinished_note"]


def run_page(run: RunResults, figures: Mapping[ReportFigure[RunResults], bytes]) -> str:
    """The report of one run.

    Args:
      run: the results of the run.
      figures: PNG by figure, shown in this order.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("static", "pruned", {"top1": 0.9}, 8, drop_dense=0.8)
    >>> page = run_page(RunResults(Path("run"), (stage,)), {})
    >>> "which saves 80.00 % of the multiplications, at 90.00 % top-1 accuracy" in page
    True
    """
    body = (
        html.heading(run.name, level=1),
        html.paragraph(unfinished_note(run), "warning"),
        html.paragraph(_headline(run), "lead"),
        *map(html.table, above_figures(run)),
        *_figures(figures, run.task),
        *map(html.table, below_figures(run)),
        html.heading("Details"),
        *map(html.details, unfolding(run)),
    )
    return html.page(run.name, "\n".join(part for part in body if part))


def comparison_page(
    runs: Sequence[RunResults],
    figures: Mapping[ReportFigure[Sequence[RunResults]], bytes],
) -> str:
    """Several runs side by side; arguments as in `run_page`.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("static", "pruned", {"top1": 0.9}, 8)
    >>> runs = [RunResults(Path(f"runs/{name}"), (stage,)) for name in ("a", "b")]
    >>> "<h1>2 runs side by side</h1>" in comparison_page(runs, {})
    True
    """
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
        *_figures(figures, shared_task([run.task for run in runs])),
        html.table(comparison.differences(runs)),
    )
    return html.page(title, "\n".join(part for part in body if part))


def unfinished_note(run: RunResults) -> str:
    """What an unfinished run lacks; empty for a finished one.

    >>> from pathlib import Path
    >>> unfinished_note(RunResults(Path("run"), (), unfinished=("summary.json",)))
    'Unfinished: summary.json not written yet.'
    """
    if not run.unfinished:
        return ""
    return f"Unfinished: {', '.join(run.unfinished)} not written yet."


def _headline(run: RunResults) -> str:
    last, best = run.stages[-1], run.task.best
    title = (
        best.title
        if best.title == run.task.measure
        else f"{best.title} {run.task.measure}"
    )
    unit = " %" if best.is_share else ""
    text = (
        f"{last.title[:1].upper()}{last.title[1:]}: "
        f"{percent(last.weight_sparsity)} % of the weights and "
        f"{percent(last.activation_element)} % of the activations are zero, "
        f"which saves {percent(last.drop_dense)} % of the multiplications"
        f"{_of_what_is_left(run)}, "
        f"at {metric_text(best, last.test[best.name])}{unit} {title}"
    )
    if run.baseline is None or last is run.baseline:
        return f"{text}."
    apart = difference(last, run)
    changes = [f"{_change(apart, best)} against the {run.baseline.title}"]
    if run.control is not None and last is not run.control:
        apart -= difference(run.control, run)
        changes.append(f"{_change(apart, best)} against the {run.control.title}")
    return f"{text} ({', '.join(changes)}).{_without_control(run, run.baseline)}"


def _change(apart: float, metric: Metric) -> str:
    return f"{signed(apart)} points" if metric.is_share else f"{apart:+.4f}"


def _without_control(run: RunResults, baseline: StageResults) -> str:
    """That nothing trained as long densely, if nothing did and something trained on."""
    more = sum(stage.epochs for stage in run.stages[1:])
    if run.control is not None or not more or "stages/control.json" in run.unfinished:
        return ""
    own = f" ({_epochs(baseline.epochs)})" if baseline.epochs else ""
    return (
        f" The stages after the {baseline.title}{own} train for {_epochs(more)}: a"
        " dense control that does so too (--run.control) would show what that gives"
        " without sparsity; this run has none."
    )


def _epochs(number: float) -> str:
    return f"{number:g} epoch" if number == 1 else f"{number:g} epochs"


def _of_what_is_left(run: RunResults) -> str:
    """How many multiplications the last network has, if it was made smaller."""
    last = run.stages[-1]
    if not last.channels:
        return ""
    left = percent(multiplications_left(run, last))
    return f" of a network with {left} % of those of the whole one"


def _figures(figures: Mapping[ReportFigure[Any], bytes], task: TaskRecord) -> list[str]:
    return [
        html.figure(task.words(figure.title), task.words(figure.caption), png)
        for figure, png in figures.items()
    ]
