"""The tables of modelled accelerators: all stages on each, and layer by layer."""

from dst_jax.report.accelerator_records import Machine
from dst_jax.report.results import Results, Stage
from dst_jax.report.tables.layers import names
from dst_jax.report.tables.table import Table, number, percent

__all__ = ["machine_names", "on_machines", "per_layer"]


def machine_names(results: Results) -> list[str]:
    """The machines that any stage was estimated on."""
    return names(stage.machines for stage in results.stages)


def on_machines(results: Results) -> Table:
    """Every stage's network on every machine."""
    rows = []
    for name in machine_names(results):
        stages = [stage for stage in results.stages if name in stage.machines]
        first = stages[0].machines[name]
        label = name  # on the machine's first row
        for stage in stages:
            rows.append((label, *_row(stage, stage.machines[name], first)))
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
        note=_note(results),
        words=2,
    )


def per_layer(results: Results, name: str) -> Table:
    """The layers on one machine: cycles after every stage, and what sets them."""
    stages = [stage for stage in results.stages if name in stage.machines]
    found = [stage.machines[name].layers for stage in stages]
    rows = []
    for layer in names(found):
        works = [layers[layer] for layers in found if layer in layers]
        cells = [f"{number(w.cycles)} ({w.bound})" for w in works]
        rows.append((layer, works[-1].mode, *cells))
    return Table(
        title=f"Cycles per layer on {name}",
        headings=("layer", "mode", *(stage.title for stage in stages)),
        rows=tuple(rows),
        note="Per image. In brackets: what takes longest, multipliers or memory.",
        words=2,
    )


def _row(stage: Stage, machine: Machine, first: Machine) -> tuple[str, ...]:
    total = machine.total
    joules = sum(total.energy.values())
    before = sum(first.total.energy.values())
    faster = first.total.cycles / total.cycles if total.cycles else None
    return (
        stage.title,
        number(total.cycles),
        number(faster, 2),
        number(total.effectual_per_cycle, 1),
        percent(total.utilisation),
        number(total.dram_bytes / 1024, 1),
        _energy(joules, machine.unit),
        percent(1 - joules / before if before else None),
    )


def _energy(value: float, unit: str) -> str:
    """Energy in the unit one would say it in; relative units as they are.

    >>> _energy(2.5e6, "pJ"), _energy(1500.0, "MAC")
    ('2.50 uJ', '1,500 MAC')
    """
    if unit == "pJ":
        return f"{number(value / 1e6, 2)} uJ"
    return f"{number(value)} {unit}"


def _note(results: Results) -> str:
    found = [m for stage in results.stages for m in stage.machines.values()]
    if not found:
        return ""
    tables = sorted({machine.table for machine in found})
    return (
        f"Models, not measurements: means over {found[0].examples} test images, "
        "weights fetched once for all of them. Speed-up and energy saved: against the "
        "first row of the same accelerator. Useful: both operands nonzero. Energies: "
        f"{', '.join(tables)}."
    )
