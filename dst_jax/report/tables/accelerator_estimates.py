"""The tables of modelled accelerators: all stages on each, and layer by layer."""

from dst_jax.report.accelerator_records import AcceleratorRecord
from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.per_layer import names
from dst_jax.report.tables.table import Table, named, number, percent

__all__ = ["accelerator_names", "cycles_per_layer", "on_accelerators"]


def accelerator_names(run: RunResults) -> list[str]:
    """The accelerators that any stage was estimated on.

    >>> from pathlib import Path
    >>> accelerator_names(RunResults(Path("run"), ()))
    []
    """
    return names(stage.accelerators for stage in run.stages)


def on_accelerators(run: RunResults) -> Table:
    """Every stage's network on every accelerator.

    >>> from pathlib import Path
    >>> from dst_jax.report.accelerator_records import OperationRecord
    >>> def stage(name, cycles):
    ...     scnn = AcceleratorRecord(total=OperationRecord(cycles=cycles))
    ...     return StageResults(name, name, {}, 8, accelerators={"scnn": scnn})
    >>> run = RunResults(Path("run"), (stage("dense", 400.0), stage("pruned", 100.0)))
    >>> [row[1:4] for row in on_accelerators(run).rows]
    [('dense', '400', '1.00'), ('pruned', '100', '4.00')]
    """
    rows = []
    for name in accelerator_names(run):
        stages = [stage for stage in run.stages if name in stage.accelerators]
        compared = [s for s in run.compared if name in s.accelerators]
        first = compared[0].accelerators[name] if compared else None
        label = name  # on the accelerator's first row
        for stage in stages:
            found, reference = stage.accelerators[name], first
            if stage not in compared:
                reference = None
            rows.append((label, *_row(stage, found, reference)))
            label = ""
    return Table(
        title="On modelled accelerators",
        headings=(
            "accelerator",
            "stage",
            "cycles / image",
            "speed-up",
            "useful MACs / cycle",
            "utilisation %",
            "DRAM, KB / image",
            "energy / image",
            "energy saved %",
        ),
        rows=tuple(rows),
        note=_note(run),
        words=2,
        named=named(stage.title for stage in run.stages),
    )


def cycles_per_layer(run: RunResults, name: str) -> Table:
    """The layers on one accelerator: cycles after every stage, and what sets them.

    >>> from pathlib import Path
    >>> from dst_jax.report.accelerator_records import OperationRecord
    >>> scnn = AcceleratorRecord(layers={"fc": OperationRecord(cycles=400.0)})
    >>> stage = StageResults("dense", "dense", {}, 8, accelerators={"scnn": scnn})
    >>> run = RunResults(Path("run"), (stage,))
    >>> cycles_per_layer(run, "scnn").rows
    (('fc', 'sparse', '400 (compute)'),)
    """
    stages = [stage for stage in run.stages if name in stage.accelerators]
    found = [stage.accelerators[name].layers for stage in stages]
    rows = []
    for layer in names(found):
        own = [layers[layer] for layers in found if layer in layers]
        cells = [f"{number(w.cycles)} ({w.bound})" for w in own]
        rows.append((layer, own[-1].mode, *cells))
    return Table(
        title=f"Cycles per layer on {name}",
        headings=("layer", "mode", *(stage.title for stage in stages)),
        rows=tuple(rows),
        note="Per image. In brackets: what takes longest, multipliers or memory.",
        words=2,
        named=named(stage.title for stage in stages),
    )


def _row(
    stage: StageResults, accelerator: AcceleratorRecord, first: AcceleratorRecord | None
) -> tuple[str, ...]:
    total = accelerator.total
    joules = sum(total.energy.values())
    before = sum(first.total.energy.values()) if first else 0.0
    faster = first.total.cycles / total.cycles if first and total.cycles else None
    return (
        stage.title,
        number(total.cycles),
        number(faster, 2),
        number(total.effectual_per_cycle, 1),
        percent(total.utilisation),
        number(total.dram_bytes / 1024, 1),
        _energy(joules, accelerator.unit),
        percent(1 - joules / before if before else None),
    )


def _energy(value: float, unit: str) -> str:
    """Energy in a readable unit; relative units as they are.

    >>> _energy(2.5e6, "pJ"), _energy(1500.0, "MAC")
    ('2.50 uJ', '1,500 MAC')
    """
    if unit == "pJ":
        return f"{number(value / 1e6, 2)} uJ"
    return f"{number(value)} {unit}"


def _note(run: RunResults) -> str:
    found = [m for stage in run.stages for m in stage.accelerators.values()]
    if not found:
        return ""
    tables = sorted({accelerator.table for accelerator in found})
    return (
        f"Models, not measurements: means over {found[0].examples} test images, "
        "weights fetched once for all of them. Speed-up and energy saved: against the "
        "first trained network on the same accelerator. Useful: both operands nonzero. "
        "Energies: "
        f"{', '.join(tables)}."
    )
