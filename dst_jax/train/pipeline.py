"""A list of stages, run from wherever an earlier run of the same list stopped."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dst_jax import data
from dst_jax.runs import GIVEN, UNTRAINED
from dst_jax.train import descriptions, pixel_examples, records, tasks
from dst_jax.train.agreement import agreed, locked
from dst_jax.train.context import Context
from dst_jax.train.events import Together
from dst_jax.train.finite import NonFiniteLoss
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.sharding import abstract_like
from dst_jax.train.stage import Stage, check_order
from dst_jax.train.stage_hooks import rehearsed_hook
from dst_jax.train.stage_plan import completed, plan_stage
from dst_jax.train.stage_run import Handover, run_stage
from dst_jax.train.tensorboard import TensorBoard
from dst_jax.typing import Network

__all__ = ["rehearse", "train"]

_LONG = ("layers", "network", "rounds", "task")
"""What a stage's record has and its line in the summary leaves out."""


def train(
    context: Context,
    stages: Sequence[Stage],
    *,
    config: dict[str, Any] | None = None,
    init: Network | None = None,
) -> dict[str, Any]:
    """Trains and evaluates all stages that are not finished, then writes summary.json.

    The run directory is locked meanwhile. A change of libraries or data since the run
    began is said.

    The test set is read once per row, after the row's last phase.

    Args:
      context: model, task, data, devices, run directory.
      stages: stages in order; the first is the baseline that drift is measured from.
      config: options, written into the summary; none by default.
      init: the network for the first stage; a fresh one if None.

    Returns:
      The summary: `config`, `stages` (the rows in order), `params_sha256`.

    Raises:
      ValueError: a stage does not fit the network; before anything is trained.
      InUse: another process writes in the run directory.
      CannotRestore: an intact checkpoint does not fit; nothing is changed.
      Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
      NonFiniteLoss: naming the stage, the step and the last good checkpoint.

    >>> import tempfile
    >>> from dst_jax import data, models, train
    >>> from dst_jax.runs import Run
    >>> def sgd(*, mask, **_):
    ...     return train.chain(0.1, mask=mask)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     context = train.Context(
    ...         model=models.create("mlp", num_classes=10, hidden=(8,)),
    ...         dataset=data.load("digits"), run=Run(folder), batch_size=128,
    ...         eval_batch_size=599, console=train.Console(quiet=True))
    ...     stages = [train.stages.pretrain(epochs=0, optimizer=sgd)]
    ...     summary = train.train(context, stages, config={})
    >>> [row["title"] for row in summary["stages"]]
    ['untrained start']
    """
    check_order(stages)
    starts = [_named_start(stage, given=init is not None) for stage in stages[:1]]
    stages = [*starts, *stages[1:]]
    with locked(context.run):
        return _train(context, stages, config=config or {}, init=init)


def _train(
    context: Context,
    stages: Sequence[Stage],
    *,
    config: dict[str, Any],
    init: Network | None,
) -> dict[str, Any]:
    network = context.fresh_weights() if init is None else context.with_model(init)
    rehearse(context, stages, network)
    _write_plan(context, stages, network, config)
    board = str(context.run.path / "tensorboard")
    events = Together(TensorBoard(board, enabled=context.run.writer), *context.events)
    ends: dict[str, Network] = {}
    handover = Handover()
    rows: list[dict[str, Any]] = []
    try:
        with Interrupt() as interrupt:
            for i, stage in enumerate(stages):
                start = network if stage.start is None else ends[stage.start]
                network, trained = run_stage(
                    context,
                    stage,
                    start,
                    interrupt=interrupt,
                    events=events,
                    handover=handover,
                )
                ends[stage.name] = network
                if _is_last_phase(stages, i):
                    baseline = ends[stages[0].name] if rows else None
                    row = None if trained else context.run.read_stage(stage.name)
                    phases = [s for s in stages if s.name == stage.name]
                    if not agreed(row is not None):
                        row = _row(context, phases, network, baseline, interrupt)
                    rows.append(row or {})
    finally:
        context.console.finish()
        events.close()
    summary = {
        "config": config,
        "stages": [{k: v for k, v in r.items() if k not in _LONG} for r in rows],
        "params_sha256": records.params_sha256(network.params),
    }
    context.run.write_summary(summary)
    return summary


def rehearse(context: Context, stages: Sequence[Stage], init: Network) -> None:
    """Traces every stage's optimizer without computing anything.

    Options that do not fit the network or the number of steps are found here, before
    the stages in front of them are trained. Where a stage hands on a network whose
    shapes depend on values, and says none to rehearse with (`rehearsed_hook`), stages
    behind it are left out.

    Args:
      context: the run's.
      stages: stages in order.
      init: the network that the first stage starts from; shapes will do.

    Raises:
      ValueError: naming the stage, and from the library what is wrong.

    >>> import optax
    >>> from dst_jax import data, models, pruning, train
    >>> from dst_jax.runs import Run
    >>> context = train.Context(
    ...     model=models.create("mlp", num_classes=10, hidden=(8,)),
    ...     dataset=data.load("digits"), run=Run("runs/a"), batch_size=128,
    ...     eval_batch_size=599)
    >>> def late(*, steps, **_):
    ...     tx = optax.sgd(0.1)
    ...     return pruning.random(tx, sparsity=0.9, rules=[("conv", False)])
    >>> stage = train.Stage(name="sparse", epochs=1, optimizer=late)
    >>> rehearse(context, [stage], jax.eval_shape(context.fresh_weights))
    Traceback (most recent call last):
    ValueError: stage sparse: ...rule 'conv' matches none of: ...
    """
    network: Network | None = abstract_like(context.with_model(init), context.sharding)
    ends: dict[str, Network | None] = {}
    for stage in stages:
        start = network if stage.start is None else ends[stage.start]
        try:
            network = None if start is None else _rehearse(context, stage, start)
        except ValueError as error:
            raise ValueError(f"stage {stage.path}: {error}") from error
        ends[stage.name] = network


def _rehearse(context: Context, stage: Stage, start: Network) -> Network | None:
    """The shapes that a stage hands on; None if they depend on values."""
    entered = rehearsed_hook(stage.on_entry, start, context)
    if entered is None:
        return None
    stage = completed(stage, entered, context)
    plan = plan_stage(context, stage, entered)
    tx = optax.with_extra_args_support(plan.optimizer)
    state = plan.state
    jax.eval_shape(tx.update, state.params, state.opt_state, state.params)
    return rehearsed_hook(stage.on_exit, plan.trained, context)


def _write_plan(
    context: Context, stages: Sequence[Stage], start: Network, config: dict[str, Any]
) -> None:
    """Adds to config.json what the stages, the task and the model say of themselves.

    Where that is done, says what is no longer as it was.
    """
    earlier = context.run.read_config() or {}
    now = records.provenance() | {"data": data.fingerprint(context.dataset)}
    if "task" in earlier:
        for line in records.changes(earlier, now):
            context.console.say(line)
        return
    made = {"config": config, "seed": context.seed, **now, "feeding": _feeding(context)}
    plan = descriptions.plan(stages, context.task, start)
    context.run.write_config(made | plan | earlier)


def _feeding(context: Context) -> dict[str, Any]:
    """How examples reach the network: a finished run is opened again with this."""
    return {
        "batch_size": context.batch_size,
        "eval_batch_size": context.eval_batch_size,
        "dtype": jnp.dtype(context.dtype).name,
    }


def _row(
    context: Context,
    phases: Sequence[Stage],
    network: Network,
    baseline: Network | None,
    interrupt: Interrupt,
) -> dict[str, Any]:
    """Evaluates the end of a stage's last phase and writes the stage's record."""
    name = phases[-1].name
    try:
        test = context.evaluate(
            network, context.dataset.test, count=True, check=interrupt.check
        )
    except NonFiniteLoss as error:
        path = context.run.checkpoints / phases[-1].path
        raise error.placed(f"{name}: on the test set, with {path}") from None
    metrics = context.run.read_metrics()
    own = [m for m in metrics if m["kind"] == "eval" and m["stage"] == name]
    last = own[-1] if own else None
    moved = None if baseline is None else records.drift(baseline.params, network.params)
    row = {
        **records.row(name, test),
        "title": phases[-1].title,
        "task": tasks.record(context.task),
        "network": descriptions.network(network),
        "rounds": descriptions.widths(
            {p.phase: context.run.checkpoints / p.path for p in phases}
        ),
        "epochs": sum(phase.epochs for phase in phases),
        "holdout": last and {k: last[k] for k in test.metrics},
        "drift": moved,
        "corrupt_records": sorted(context.dataset.train.corrupt.reasons),
        **records.throughput(metrics, name, batch_size=context.batch_size),
    }
    pixel_examples.write(context, name, network)
    context.run.write_stage(name, row)
    if row["corrupt_records"]:
        names = ", ".join(row["corrupt_records"])
        context.console.say(f"{name}: left out corrupt records: {names}")
    best = tasks.say(context.task, {k: test.metrics[k] for k in context.task.best[:1]})
    context.console.say(
        f"{name}: {best}, weight sparsity"
        f" {test.weight_sparsity:.2%}, activation sparsity"
        f" {test.element_sparsity:.2%}, FLOPs drop {test.drop('dense'):.2%}"
        f" on {test.examples} test images"
    )
    return row


def _named_start(first: Stage, *, given: bool) -> Stage:
    """A first stage without training, titled by whether its network is given."""
    if first.title not in (GIVEN, UNTRAINED):
        return first
    return replace(first, title=GIVEN if given else UNTRAINED)


def _is_last_phase(stages: Sequence[Stage], i: int) -> bool:
    return i + 1 == len(stages) or stages[i + 1].name != stages[i].name
