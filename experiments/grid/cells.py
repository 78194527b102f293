"""The cells of a comparison: trained for every seed, a few of them tested."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import jax

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train import Context, Stage, Weights
from experiments.grid.records import CellRecords
from experiments.running.finished_run import weights_of

__all__ = ["Cell", "Ends", "evaluate_on_test", "file_name", "of_seed", "rehearse"]


@dataclass(frozen=True)
class Cell:
    """One training of a comparison.

    Attributes:
      stage: the training; the cell has its name.
      start: name of the cell from whose end it starts; None = fresh or given weights.
      enter: what is done first to the network that it starts from.
    """

    stage: Stage
    start: str | None = None
    enter: Callable[[Context, Weights], Weights] | None = None

    @property
    def name(self) -> str:
        """The name of its records and directories.

        >>> from dst_jax import train
        >>> Cell(train.stages.initial(lambda **_: train.chain(0.1))).name
        'initial'
        """
        return self.stage.name


class Ends:
    """Networks at the ends of one seed's cells: trained, or restored if they were.

    Args:
      context: model, data, devices and the seed's run directory.
      cells: the cells of the comparison.
      interrupt, events: as for `train.run_stage`.
      init: weights of cells that start from no other; fresh ones if None.
    """

    def __init__(
        self,
        context: Context,
        cells: Sequence[Cell],
        *,
        interrupt: train.Interrupt,
        events: train.TensorBoard,
        init: Weights | None = None,
    ):
        self._context = context
        self._cells = {cell.name: cell for cell in cells}
        self._interrupt, self._events, self._init = interrupt, events, init
        self._kept: dict[str, Weights] = {}

    def __call__(self, name: str) -> Weights:
        """The network at a cell's end.

        Raises:
          Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
          NonFiniteLoss: names the cell.
        """
        if name in self._kept:
            return self._kept[name]
        cell = self._cells[name]
        weights, _ = train.run_stage(
            self._context,
            cell.stage,
            self._start(cell),
            interrupt=self._interrupt,
            events=self._events,
        )
        if cell.start is None and any(c.start == name for c in self._cells.values()):
            self._kept[name] = weights  # the others are restored when asked for again
        return weights

    def _start(self, cell: Cell) -> Weights:
        if cell.start is not None:
            start = self(cell.start)
        elif self._init is not None:
            start = self._init
        else:
            start = self._context.fresh_weights()
        return start if cell.enter is None else cell.enter(self._context, start)


def rehearse(context: Context, cells: Iterable[Cell]) -> None:
    """Refuses what does not fit the network or the number of steps.

    Args:
      context: model and data.
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
    weights = jax.eval_shape(context.fresh_weights)
    for cell in cells:
        train.rehearse(context, [cell.stage], weights)


def evaluate_on_test(
    context: Context,
    cells: Sequence[Cell],
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
        baseline = weights_of(own, cells[0].stage)
        for cell in missing:
            weights = weights_of(own, cell.stage)
            found = own.evaluate(weights, own.dataset.test, count=True)
            row = train.records.row(cell.name, found)
            drift = train.records.drift(baseline.params, weights.params)
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


def file_name(text: str) -> str:
    """A text as a part of file names.

    >>> file_name("my_package.penalties:huber")
    'my_package.penalties-huber'
    """
    return re.sub(r"[^\w.=-]+", "-", text)
