"""The tables of what has been removed as channels."""

from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.per_layer import names
from dst_jax.report.tables.table import Table, number, percent

__all__ = ["channels", "smaller_networks"]


def smaller_networks(run: RunResults) -> Table:
    """Multiplications, parameters and measured time of networks made smaller.

    >>> from pathlib import Path
    >>> from dst_jax.report.channel_records import UnitCount
    >>> stage = StageResults(
    ...     "remove_channels", "smaller", {"top1": 0.9}, 8, parameters=3000,
    ...     channels={"conv1": UnitCount(8, 2)}
    ... )
    >>> smaller_networks(RunResults(Path("run"), (stage,))).rows[0][:2]
    ('smaller', '2 of 8')
    """
    stages = [stage for stage in run.stages if stage.channels]
    times = [stage.forward_time for stage in stages if stage.forward_time]
    first = run.stages[0] if run.stages else None
    whole = first if first is not None and not first.channels else None
    return Table(
        title="Networks made smaller",
        headings=(
            "stage",
            "channels",
            "multiplications an image",
            "of the whole %",
            "parameters",
            "of the whole %",
            "forward ms",
            "whole ms",
            "speed-up",
        ),
        rows=tuple(_row(stage, whole) for stage in stages),
        note=_note(run) if times else "",
    )


def channels(run: RunResults) -> Table:
    """Channels of every group before and after.

    >>> from pathlib import Path
    >>> from dst_jax.report.channel_records import UnitCount
    >>> stage = StageResults(
    ...     "remove_channels", "smaller", {"top1": 0.9}, 8,
    ...     channels={"conv1": UnitCount(8, 2)}
    ... )
    >>> channels(RunResults(Path("run"), (stage,))).rows
    (('conv1', '8', '2'),)
    """
    stages = [stage for stage in run.stages if stage.channels]
    groups = names([stage.channels for stage in stages])
    whole = {g: c.whole for stage in stages for g, c in stage.channels.items()}
    return Table(
        title="Channels per group",
        headings=("group", "whole", *(stage.title for stage in stages)),
        rows=tuple(
            (
                group,
                number(whole[group]),
                *(
                    number(stage.channels[group].kept)
                    if group in stage.channels
                    else "-"
                    for stage in stages
                ),
            )
            for group in groups
        ),
        note="A group is named by the first layer that makes its channels.",
    )


def _row(stage: StageResults, whole: StageResults | None) -> tuple[str, ...]:
    counts = stage.channels.values()
    kept, units = sum(c.kept for c in counts), sum(c.whole for c in counts)
    dense = _multiplications(stage)
    before = None if whole is None else _multiplications(whole)
    parameters = None if whole is None else whole.parameters
    taken = stage.forward_time
    return (
        stage.title,
        f"{kept} of {units}",
        number(dense),
        percent(_share(dense, before)),
        number(stage.parameters),
        percent(_share(stage.parameters, parameters)),
        number(taken and 1e3 * taken.smaller, 2),
        number(taken and 1e3 * taken.whole, 2),
        number(taken and taken.speed_up, 2),
    )


def _multiplications(stage: StageResults) -> float:
    return sum(p.dense for p in stage.products.values()) / max(stage.examples, 1)


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _note(run: RunResults) -> str:
    found = next(s.forward_time for s in reversed(run.stages) if s.forward_time)
    return (
        f"Time: median of {found.runs} forward passes of {found.batch} images, by the"
        f" whole and the smaller network in turns, on {found.machine}."
    )
