"""One stage: restored or entered, trained, saved."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
import jax
import optax

from dst_jax.train.callbacks import Callbacks
from dst_jax.train.carried_state import carried
from dst_jax.train.checkpoint import Checkpoints
from dst_jax.train.context import Context
from dst_jax.train.events import Events
from dst_jax.train.finite import NonFiniteLoss
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.ledger import Ledger
from dst_jax.train.loop import Interval, fit
from dst_jax.train.objective import Objective
from dst_jax.train.sharding import put_batch
from dst_jax.train.stage import Stage
from dst_jax.train.stage_hooks import apply_hook
from dst_jax.train.stage_plan import (
    StagePlan,
    completed,
    counted_step,
    objective_of,
    plan_stage,
    train_step,
)
from dst_jax.train.state import TrainState
from dst_jax.train.traces import shapes_of
from dst_jax.typing import Network

__all__ = ["Handover", "run_stage"]


class StageEnd(NamedTuple):
    """What is there at the end of a stage."""

    network: Network
    """The network that the stage hands on."""
    trained: bool
    """Whether anything was left to train."""
    opt_state: optax.OptState


@dataclass
class Handover:
    """What a phase leaves to one that continues it: the optimizer's state."""

    opt_state: optax.OptState | None = None


def run_stage(
    context: Context,
    stage: Stage,
    start: Network,
    *,
    interrupt: Interrupt,
    events: Events,
    handover: Handover | None = None,
) -> tuple[Network, bool]:
    """Trains a stage to its end, from its newest intact checkpoint if it has one.

    Args:
      context: the run's context.
      stage: what to train.
      start: the network that it starts from.
      interrupt: what is asked after every step.
      events: where scalars go besides metrics.jsonl.
      handover: what the phase before left, for a stage that continues; in the end it
        is what this one leaves.

    Returns:
      The network that the stage hands on, and whether anything was left to train.

    Raises:
      ValueError: the stage continues, and has another optimizer.
      Interrupted: a signal came; the state is saved.
      NonFiniteLoss: names the stage, the step and the last good checkpoint.
    """
    handover = Handover() if handover is None else handover
    opt_state = handover.opt_state if stage.continues else None
    handover.opt_state = None  # not kept while the stage trains
    network, trained, handover.opt_state = _run(
        context, stage, start, opt_state, interrupt, events
    )
    return network, trained


def _run(
    context: Context,
    stage: Stage,
    start: Network,
    opt_state: optax.OptState | None,
    interrupt: Interrupt,
    events: Events,
) -> StageEnd:
    entered = apply_hook(stage.on_entry, context.with_model(start), context)
    stage = completed(stage, entered, context)
    plan = plan_stage(context, stage, entered)
    directory = context.run.checkpoints / stage.path
    best = context.task.best
    with Checkpoints(directory, best=best, apart=plan.apart) as checkpoints:
        run = _StageRun(context, stage, plan, entered, checkpoints)
        state = run.restore()
        if state is not None and int(state.step) == plan.steps:
            return StageEnd(run.network_at(state, plan.steps), False, state.opt_state)
        if state is None:
            before = None if opt_state is None else carried(opt_state, start, entered)
            state = run.enter(before)
        return run.train(state, interrupt, events)


@dataclass(frozen=True)
class _StageRun:
    """A stage, and what it reads and writes."""

    context: Context
    stage: Stage
    plan: StagePlan
    entered: Network
    checkpoints: Checkpoints

    def network_at(self, state: TrainState, step: int) -> Network:
        """The network in a state; in the last one, what the stage hands on."""
        network = self.plan.network_of(state)
        if step < self.plan.steps:
            return network
        return apply_hook(self.stage.on_exit, network, self.context)

    def restore(self) -> TrainState | None:
        """The state in the newest intact checkpoint; None if there is none.

        Raises:
          ValueError: it was trained with other batches.
        """
        found = self.checkpoints.restore((self.plan.state, self.plan.trained))
        state = found.state
        instead = "using the one before" if state is not None else "starting over"
        say, path = self.context.console.say, self.stage.path
        for problem in found.problems:
            say(f"{path}: {problem}; {instead}")
        for note in found.notes:
            say(f"{path}: {note}")
        if state is not None:
            self._check_position(int(state.step))
        if state is not None and int(state.step) < self.plan.steps:
            say(f"{path}: resuming at step {state.step}/{self.plan.steps}")
        return state

    def enter(self, opt_state: optax.OptState | None) -> TrainState:
        """The state at step 0, with an optimizer state that is given.

        Raises:
          ValueError: the optimizer has another state.
        """
        # Jitted, so that it shares no buffer with `entered`: steps donate it.
        build = jax.jit(self.plan.build, out_shardings=self.context.sharding)
        state = build(self.entered)
        if opt_state is None:
            return state
        if shapes_of(opt_state) != shapes_of(state.opt_state):
            raise ValueError(
                f"stage {self.stage.path} continues with the optimizer state of the"
                " phase before it: both must have the same optimizer"
            )
        return state.replace(opt_state=jax.device_put(opt_state, self.context.sharding))

    def train(
        self, state: TrainState, interrupt: Interrupt, events: Events
    ) -> StageEnd:
        """What is there once the steps that are left are done."""
        self._forget_metrics_after(int(state.step))
        callbacks = Callbacks(
            self.context,
            self.stage,
            steps=self.plan.steps,
            network_at=self.network_at,
            checkpoints=self.checkpoints,
            events=events,
        )
        step = int(state.step)
        self.context.console.start(self.stage.path, step=step, steps=self.plan.steps)
        try:
            if self.plan.steps == 0:
                return StageEnd(callbacks.save(state, 0), True, state.opt_state)
            batches = self.context.train_batches(self.stage.path, start=step)
            with closing(batches):
                state = self._fit(state, batches, callbacks, interrupt)
        except NonFiniteLoss as error:
            where = f"{self.stage.path}: {callbacks.last_good()}"
            raise error.placed(where) from None
        assert callbacks.saved is not None  # the last step is always saved
        return StageEnd(callbacks.saved, True, state.opt_state)

    def _fit(
        self,
        state: TrainState,
        batches: grain.DatasetIterator[Any],
        callbacks: Callbacks,
        interrupt: Interrupt,
    ) -> TrainState:
        context = self.context
        objective = objective_of(context, self.stage, self.entered).of(context.task)
        ledger = self._ledger(int(state.step), objective)

        def on_log(interval: Interval, state: TrainState) -> None:
            callbacks.log(interval, state)
            if ledger is not None:
                ledger.close_interval()

        return fit(
            state,
            _read(batches),
            train_step=train_step(context, self.stage, self.plan),
            objective=objective,
            put=lambda batch: put_batch(batch, context.mesh),
            steps=self.plan.steps,
            log=lambda step: step % context.log_every == 0,
            save=callbacks.due,
            on_log=on_log,
            on_save=callbacks.save,
            stop=interrupt.requested,
            **({} if ledger is None else {"on_step": ledger.before_step}),
        )

    def _ledger(self, step: int, objective: Objective) -> Ledger | None:
        """The stage's ledger, from a step on; None if the run keeps none."""
        if not self.context.ledger_every:
            return None
        return Ledger(
            self.context,
            self.stage,
            step=step,
            steps=self.plan.steps,
            counted_step=counted_step(self.context, self.stage, self.plan),
            objective=objective,
        )

    def _check_position(self, step: int) -> None:
        """Refuses to go on with batches that do not follow those before."""
        own = self.context.position(self.stage.path, step)
        found = self.checkpoints.position(step) or own
        wrong = [k for k in own if found.get(k) != own[k]]
        if wrong:
            named = ", ".join(f"{k} {found.get(k)}, now {own[k]}" for k in wrong)
            raise ValueError(
                f"checkpoint {self.checkpoints.path(step)} was trained with {named}:"
                " its place in the data cannot be found again. Give what it was trained"
                " with, or another run directory"
            )

    def _forget_metrics_after(self, step: int) -> None:
        """Drops lines past the checkpoint that the stage goes on from."""
        stage = self.stage

        def keep(line: dict[str, Any]) -> bool:
            own = line["stage"] == stage.name and line["phase"] == stage.phase
            return not own or line["step"] <= step

        self.context.run.keep_metrics(keep)


def _read(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches; a process of the loader that is gone is an error of the data."""
    while True:
        try:
            batch = next(batches)
        except RuntimeError as error:
            reason = str(error).partition(". ")[0]
            raise OSError(
                f"the data loader stopped: {reason}. The same command continues; if"
                " memory ran out, with fewer workers"
            ) from error
        yield batch
