"""The tables of one run: its stages, their cost, the drift, the facts."""

import math
from collections.abc import Mapping
from typing import Any

from dst_jax.report.results import Results, Stage
from dst_jax.report.tables.table import Table, duration, number, percent, signed

__all__ = [
    "CONVENTIONS",
    "STAGE_HEADINGS",
    "drift",
    "facts",
    "flatten",
    "settings",
    "stage_cells",
    "stage_values",
    "stages",
    "training",
]

STAGE_HEADINGS = (
    "top-1 %",
    "Δ top-1, points",
    "top-5 %",
    "weight sparsity %",
    "activation sparsity %, element",
    "activation sparsity %, layer mean",
    "FLOPs drop %, of dense",
    "FLOPs drop %, of valid",
)

CONVENTIONS = (
    "Δ: the difference from the dense baseline. Activation sparsity: zeros among the "
    "outputs of the ReLUs. Element: over all maps together, so large maps count more. "
    "Layer mean: the plain mean of the layers' own shares. FLOPs drop: the share of "
    "multiplications with a zero operand. Of dense: every product of the dense "
    "network, those with padding included, as FLOPs are usually counted. Of valid: "
    "without the products with padding, which no network needs."
)


def stages(results: Results) -> Table:
    """The paper's Table 3 for one run: a row per finished stage."""
    return Table(
        title="Accuracy, sparsity, multiplications",
        headings=("stage", *STAGE_HEADINGS),
        rows=tuple((s.title, *stage_cells(s, results)) for s in results.stages),
        note=CONVENTIONS,
    )


def stage_values(stage: Stage, results: Results) -> tuple[float, ...]:
    """The shares under `STAGE_HEADINGS`; NaN where there is none."""
    baseline = results.baseline
    reference = baseline.test.top1 if baseline and stage is not baseline else math.nan
    return (
        stage.test.top1,
        stage.test.top1 - reference,
        math.nan if stage.test.top5 is None else stage.test.top5,
        stage.weight_sparsity,
        stage.activation_element,
        stage.activation_layer_mean,
        stage.drop_dense,
        stage.drop_valid,
    )


def stage_cells(stage: Stage, results: Results) -> tuple[str, ...]:
    """`stage_values` as text: percent, and points for the difference."""
    top1, difference, *others = stage_values(stage, results)
    return percent(top1), signed(difference), *map(percent, others)


def drift(results: Results) -> Table:
    """The paper's Table 2: how far each stage moved the weights."""
    return Table(
        title="Drift from the dense baseline's weights",
        headings=("stage", "Euclidean distance", "cosine similarity"),
        rows=tuple(
            (s.title, number(s.drift.euclidean, 3), number(s.drift.cosine, 4))
            for s in results.stages
            if s.drift
        ),
    )


def training(results: Results) -> Table:
    """What each stage cost, and its accuracy on the hold-out."""
    return Table(
        title="Stages",
        headings=(
            "stage",
            "name",
            "epochs",
            "training time",
            "images / s",
            "waiting for data %",
            "hold-out top-1 %",
            "hold-out top-5 %",
            "test images",
        ),
        rows=tuple(
            (
                s.title,
                s.name,
                f"{s.epochs:g}",
                duration(s.seconds),
                _rate(s.images_per_second),
                percent(s.waiting),
                percent(s.holdout.top1 if s.holdout else None),
                percent(s.holdout.top5 if s.holdout else None),
                number(s.examples),
            )
            for s in results.stages
        ),
        note=_holdout_note(results),
        words=2,
    )


def facts(results: Results) -> Table:
    """What one needs to repeat the run: command, seed, versions, revision."""
    config = results.config
    return Table(
        title="Run",
        headings=("", ""),
        rows=(
            ("command", _text(config.get("command"))),
            ("seed", _text(config.get("seed"))),
            ("started", _text(config.get("started"))),
            ("machine", _pairs(config.get("machine"))),
            ("versions", _pairs(config.get("versions"))),
            ("git revision", _revision(config.get("git"))),
            ("SHA-256 of the parameters", _text(results.params_sha256)),
        ),
        words=2,
    )


def settings(results: Results) -> Table:
    """The run's configuration, one dotted name per row."""
    flat = flatten(results.config.get("config") or {})
    return Table(
        title="Configuration",
        headings=("setting", "value"),
        rows=tuple((name, _text(value)) for name, value in flat.items()),
        words=2,
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted name.

    >>> flatten({"optim": {"lr": 0.1, "decay": None}})
    {'optim.lr': 0.1, 'optim.decay': None}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _holdout_note(results: Results) -> str:
    if any(s.holdout for s in results.stages):
        return (
            "The hold-out is set aside from the training images; every other accuracy "
            "is measured on the test images, at the end of the stage."
        )
    return (
        "No hold-out was set aside; accuracy is measured on the test images, at the "
        "end of the stage."
    )


def _rate(rate: float | None) -> str:
    return number(rate, 0 if rate is None or rate >= 100 else 1)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _pairs(record: Any) -> str:
    if not isinstance(record, Mapping):
        return _text(record)
    return ", ".join(f"{key} {value}" for key, value in record.items())


def _revision(git: Mapping[str, Any] | None) -> str:
    if not git:
        return "-"
    dirty = " (with uncommitted changes)" if git.get("dirty") else ""
    return f"{git.get('revision')}{dirty}"
