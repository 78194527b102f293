"""The tables of what has been removed as channels."""

from dst_jax.report.channel_records import shape_text
from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.per_layer import names
from dst_jax.report.tables.table import Table, named, number, percent

__all__ = ["channels", "kernel_shapes", "multiplications_left", "smaller_networks"]


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
        rows=tuple(_row(stage, run) for stage in stages),
        note=_note(run) if times else "",
        named=named(stage.title for stage in stages),
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
        named=named(stage.title for stage in stages),
    )


def kernel_shapes(run: RunResults) -> Table:
    """The shape of every kernel before and after: the channels of every layer.

    >>> from pathlib import Path
    >>> from dst_jax.report.channel_records import UnitCount
    >>> from dst_jax.report.run_results import Zeros
    >>> stages = [
    ...     StageResults(
    ...         title, title, {"top1": 0.9}, 8, weights={"fc/kernel": Zeros(0, 9)},
    ...         shapes={"fc/kernel": shape}, channels=channels
    ...     )
    ...     for title, shape, channels in (
    ...         ("dense", (20, 10), {}), ("smaller", (5, 10), {"fc": UnitCount(20, 5)})
    ...     )
    ... ]
    >>> kernel_shapes(RunResults(Path("run"), tuple(stages))).rows
    (('fc/kernel', '20 x 10', '5 x 10'),)
    """
    stages = [stage for stage in run.stages if stage.channels and stage.shapes]
    whole = _whole(run)
    before = {} if whole is None else whole.shapes
    after = [stage.shapes for stage in stages]
    return Table(
        title="Channels per layer",
        headings=("layer", "whole", *(stage.title for stage in stages)),
        rows=tuple(
            (
                name,
                *(shape_text(shapes.get(name)) or "-" for shapes in (before, *after)),
            )
            for name in names(stage.weights for stage in stages)
        ),
        note="The shape of each layer's kernel, in the order of its axes.",
        named=named(stage.title for stage in stages),
    )


def multiplications_left(run: RunResults, stage: StageResults) -> float | None:
    """The share of the whole network's multiplications that a stage's network has.

    Padding counts, as in the whole one; zeros do not matter.

    Returns:
      None if no stage of the run has the whole network.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import Products
    >>> stages = [
    ...     StageResults("a", "a", {}, 8, products={"fc": Products(n, n, n, n, n)})
    ...     for n in (8, 4)
    ... ]
    >>> multiplications_left(RunResults(Path("run"), tuple(stages)), stages[1])
    0.5
    """
    whole = _whole(run)
    if whole is None:
        return None
    return _share(_multiplications(stage), _multiplications(whole))


def _whole(run: RunResults) -> StageResults | None:
    """A stage of which nothing has been removed."""
    return next((stage for stage in run.stages if not stage.channels), None)


def _row(stage: StageResults, run: RunResults) -> tuple[str, ...]:
    counts, whole = stage.channels.values(), _whole(run)
    kept, units = sum(c.kept for c in counts), sum(c.whole for c in counts)
    parameters = None if whole is None else whole.parameters
    taken = stage.forward_time
    return (
        stage.title,
        f"{kept} of {units}",
        number(_multiplications(stage)),
        percent(multiplications_left(run, stage)),
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
