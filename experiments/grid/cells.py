"""The cells of a comparison: stages that are trained for every seed.

A cell is a `train.Stage` with a name of its own. Its `start` names the cell from whose
end it starts; None is a fresh network, or given weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import jax

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train import Context, Stage
from dst_jax.typing import Network
from experiments.grid.records import CellRecords
from experiments.running.finished_run import network_of

__all__ = ["Ends", "evaluate_on_test", "of_seed", "rehearse"]


class Ends:
    """Networks at the ends of one seed's cells: trained, or restored if they were.

    Args:
      context: model, task, data, devices and the seed's run directory.
      cells: the cells of the comparison.
      interrupt: asked after every step.
      events: where scalars go.
      init: network of cells that start from no other; a fresh one if None.
    """

    def __init__(
        self,
        context: Context,
        cells: Sequence[Stage],
        *,
        interrupt: train.Interrupt,
        events: train.Events,
        init: Network | None = None,
    ):
        self._context = context
        self._cells = {cell.name: cell for cell in cells}
        self._interrupt, self._events, self._init = interrupt, events, init
        self._kept: dict[str, Network] = {}

    def __call__(self, name: str) -> Network:
        """The network at a cell's end.

        Raises:
          Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
          NonFiniteLoss: names the cell.
        """
        if name in self._kept:
            return self._kept[name]
        cell = self._cells[name]
        network, _ = train.run_stage(
            self._context,
            cell,
            self._start(cell),
            interrupt=self._interrupt,
            events=self._events,
        )
        if cell.start is None and any(c.start == name for c in self._cells.values()):
            self._kept[name] = network  # the others are restored when asked for again
        return network

    def _start(self, cell: Stage) -> Network:
        if cell.start is not None:
            return self(cell.start)
        return self._context.fresh_weights() if self._init is None else self._init


def rehearse(context: Context, cells: Iterable[Stage]) -> None:
    """Refuses what does not fit the network or the number of steps.

    Args:
      context: model, task and data.
      cells: the cells; their optimizers are traced, nothing is computed.

    Raises:
      ValueError: naming the cell, and from the library what is wrong.

    >>> from experiments.grid.methods.options import MethodGrid
    >>> from experiments.options import ModelOptions
    >>> options = MethodGrid(methods=("rigl end=9999",), model=ModelOptions(name="mlp"))
    >>> context = options.base().context(Run("a"), train.Console(quiet=True))
    >>> rehearse(context, options.comparison().cells)
    Traceback (most recent call last):
    ValueError: stage rigl_end=9999: rigl: end must be at most the 800 optimizer ...
    """
    network = jax.eval_shape(context.fresh_weights)
    known = {cell.name: cell for cell in cells}
    for cell in known.values():
        train.rehearse(context, _chain(cell, known), network)


def _chain(cell: Stage, known: Mapping[str, Stage]) -> list[Stage]:
    """A cell behind those that it cannot be rehearsed without: they hand on gates."""
    chain = [cell]
    while (before := known.get(chain[0].start or "")) and before.completed_by:
        chain.insert(0, before)
    return [replace(chain[0], start=None), *chain[1:]]


def evaluate_on_test(
    context: Context,
    cells: Sequence[Stage],
    seeds: Sequence[int],
    tests: CellRecords,
) -> None:
    """Evaluates the ends of cells on the test set: once, ever, for each and seed.

    Args:
      context: context of the comparison.
      cells: trained cells; the first is the baseline that drift is measured from.
      seeds: their seeds.
      tests: where the results are kept.
    """
    for seed in seeds:
        missing = [cell for cell in cells if tests.get(cell.name, seed) is None]
        if not missing:
            continue
        own = of_seed(context, seed)
        baseline = network_of(own, cells[0])
        for cell in missing:
            network = network_of(own, cell)
            found = own.evaluate(network, own.dataset.test, count=True)
            row = train.records.row(cell.name, found)
            drift = train.records.drift(baseline.params, network.params)
            place = {"cell": row.pop("name"), "seed": seed}
            tests.add({**place, **row, "drift": drift})


def of_seed(context: Context, seed: int) -> Context:
    """The same context for another seed, with a run directory of its own.

    Args:
      context: context of the comparison.
      seed: the seed.

    >>> from experiments.options import Config, ModelOptions
    >>> config = Config(model=ModelOptions(name="mlp"))
    >>> own = of_seed(config.context(Run("a"), train.Console(quiet=True)), 3)
    >>> own.seed, own.run.path.name
    (3, 'seed3')
    """
    run = Run(context.run.path / f"seed{seed}", writer=context.run.writer)
    return replace(context, seed=seed, run=run)
