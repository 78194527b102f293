"""Methods of sparse training: their cells, what is measured, and what is reported."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from dst_jax.models import summary
from dst_jax.models.smaller import Smaller
from dst_jax.report.figures.sparser_channels import has_channels
from dst_jax.runs import Run, read_ledger
from dst_jax.train import Context, Stage
from dst_jax.train.stages import RemoveUnread
from dst_jax.typing import Network, Within
from experiments.grid import rows
from experiments.grid.cells import Ends
from experiments.grid.engine import Comparison
from experiments.grid.methods import figures, tables
from experiments.grid.methods.costs import counted_share, training_share
from experiments.grid.methods.options import MethodGrid
from experiments.grid.records import Record
from experiments.options import EastOptions
from experiments.options.method_gradients import dense_gradients
from experiments.options.methods import SparseMethod, parse
from experiments.options.saved_inputs import saved_sparsity_apart, saving
from experiments.options.texts import about, file_name
from experiments.running.forward_times import relative_time
from experiments.running.quality import quality_of

__all__ = ["MethodComparison"]

_DENSE = "dense"


class MethodComparison(Comparison):
    """Dense training and training with each method, all from scratch with one recipe.

    Args:
      options: the options of the comparison.

    Raises:
      ValueError: an unknown method or option, or a value out of range.
    """

    def __init__(self, options: MethodGrid):
        self.options = options
        self.quality = quality_of(options.task.create(options.base()))
        texts = [text for text in options.methods if text.split() != [_DENSE]]
        names = [file_name("_".join(text.split())) for text in texts]
        twice = sorted(name for name, n in Counter([_DENSE, *names]).items() if n > 1)
        if twice:
            raise ValueError(f"--methods names {', '.join(twice)} more than once")
        self.texts = dict(zip(names, texts, strict=True))
        self.methods: dict[str, SparseMethod] = {}
        self.parts: dict[str, EastOptions] = {}
        self.within: dict[str, Within] = {}
        for name, text in self.texts.items():
            method, self.parts[name], self.within[name] = self._method(text)
            self.methods[name] = method
        self.cells = [self._cell(name) for name in (_DENSE, *names)]

    def measure(
        self, context: Context, cell: Stage, network: Network, ends: Ends
    ) -> dict[str, Any]:
        """The hold-out on the end of a training, what it cost, and its forward time."""
        holdout = context.dataset.holdout
        found = None
        if holdout is not None:
            found = context.evaluate(network, holdout, count=False)
        model = self.options.model.create(num_classes=context.dataset.num_classes)
        layers = summary.layers(model, context.dataset.image_shape)
        lines = context.run.read_masks()
        per_epoch = context.steps_per_epoch / self.options.optim.accumulate
        return {
            "method": self.texts.get(cell.name, _DENSE),
            "holdout": None if found is None else dict(found.metrics),
            "training_macs": training_share(
                self.methods.get(cell.name),
                [line for line in lines if line["stage"] == cell.name],
                {layer.name: layer.macs for layer in layers},
                epochs=cell.epochs,
                updates_per_epoch=per_epoch,
                owners=self.parts.get(cell.name, EastOptions()).owners,
            ),
            "training_counted": counted_share(read_ledger(context.run), cell.name),
            "forward_time": self._forward_time(context, network, ends),
        }

    def _forward_time(
        self, context: Context, network: Network, ends: Ends
    ) -> float | None:
        """That of a smaller network over that of the dense one; None of another."""
        if not isinstance(network.model, Smaller):
            return None
        shape = (self.options.timing_batch, *context.example.shape[1:])
        x = jnp.zeros(shape, context.example.dtype)
        dense = ends(_DENSE)
        return relative_time(network, dense, x, runs=self.options.timing_runs)

    def line(self, record: Record) -> str:
        """The hold-out's quality and the cost of the training.

        >>> comparison = MethodComparison(MethodGrid())
        >>> comparison.line({"holdout": {"top1": 0.9}, "training_macs": 0.5})
        'hold-out top-1 90.00%, training MACs 50.00% of dense'
        """
        said = f"training MACs {record['training_macs']:.2%} of dense"
        if record["holdout"] is not None:
            said = f"hold-out {self.quality.say(record['holdout'])}, {said}"
        return said

    def tested(self, records: Sequence[Record]) -> list[Stage]:
        """All cells.

        >>> MethodComparison(MethodGrid(methods=("rigl",))).tested([])[1].name
        'rigl'
        """
        del records
        return list(self.cells)

    def report(
        self, run: Run, records: Sequence[Record], tests: Sequence[Record]
    ) -> Path:
        """Writes report.html, report.md, figures, table.jsonl; prints the table."""
        names = [cell.name for cell in self.cells]
        found = tables.rows(names, records, tests, self.quality)
        table = tables.table(found, self.quality)
        masks = [Run(run.path / f"seed{s}").read_masks() for s in self.options.seeds]
        drawn = {}
        if any(map(has_channels, chain.from_iterable(masks))):
            drawn["sparser_channels"] = figures.sparser_channels(masks, names)
        title = "Methods of sparse training compared"
        return rows.write(run.path, title, found, table, drawn)

    def _method(self, text: str) -> tuple[SparseMethod, EastOptions, Within]:
        """The method of a text, the parts of EAST around it, what layers save."""
        name, *texts = text.split() or [""]
        rules, target = self.options.base().prune.prunable(), self.options.sparsity
        with about(f"--methods: {text!r}"):
            parts, others = EastOptions.apart(texts)
            saved, others = saved_sparsity_apart(others)
            method = parse(name, others, target=target, rules=rules)
            return method, parts, saving(saved, rules)

    def _cell(self, name: str) -> Stage:
        optim = self.options.optim
        optimizer = optim.optimizer(
            lr=self.options.lr,
            warmup_epochs=optim.warmup_epochs,
            method=self.methods.get(name),
        )
        method = self.methods.get(name)
        groups = None if method is None else method.groups
        stage = Stage(
            name=name,
            epochs=self.options.epochs,
            optimizer=optimizer,
            on_exit=None if groups is None else RemoveUnread(groups),
            dense_gradients=None
            if method is None
            else dense_gradients(method, accumulate=optim.accumulate),
            within=self.within.get(name, nullcontext),
        )
        with about(f"--methods: {self.texts.get(name, _DENSE)!r}"):
            return self.parts.get(name, EastOptions()).around(stage)
