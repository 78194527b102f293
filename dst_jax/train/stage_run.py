"""One stage: restored or entered, trained, saved."""

from typing import Any, NamedTuple

import jax
import optax

from dst_jax.train.checkpoint import Checkpoints, abstract_like
from dst_jax.train.evaluate import Evaluation
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.loop import Interval, NonFiniteLoss, fit
from dst_jax.train.progress import Events
from dst_jax.train.setup import Setup
from dst_jax.train.sharding import put_batch
from dst_jax.train.stages import Stage
from dst_jax.train.state import TrainState, Weights, enter, weights_of
from dst_jax.train.step import make_train_step

__all__ = ["run_stage"]


class _Plan(NamedTuple):
    """A stage made concrete by the weights it starts from."""

    steps: int
    state: TrainState
    """Abstract: shapes, dtypes and shardings."""
    weights: Weights
    """Abstract."""
    optimizer: optax.GradientTransformation
    masked: bool


def run_stage(
    setup: Setup,
    stage: Stage,
    start: Weights,
    *,
    interrupt: Interrupt,
    events: Events,
) -> tuple[Weights, bool]:
    """Trains a stage to its end, from its newest intact checkpoint if it has one.

    Returns:
      The weights at the stage's end, and whether anything was left to train.

    Raises:
      Interrupted: a signal came; the state is saved.
      NonFiniteLoss: names the stage, the step and the last good checkpoint.
    """
    plan = _plan(setup, stage, start)
    batches = setup.train_batches(stage.path) if plan.steps else None
    try:
        with Checkpoints(setup.run.checkpoints / stage.path) as checkpoints:
            restored = _restore(setup, stage, plan, checkpoints, batches)
            if restored is not None and int(restored.step) == plan.steps:
                return weights_of(restored, masked=plan.masked), False
            state = restored or _enter(setup, stage, plan, start)
            _forget_metrics_after(setup, stage, int(state.step))
            visits = _Visits(setup, stage, plan, checkpoints, batches, events)
            if plan.steps == 0:
                visits.save(state, None)
            else:
                state = _train(setup, stage, plan, state, batches, visits, interrupt)
            return weights_of(state, masked=plan.masked), True
    finally:
        if batches is not None:
            batches.close()


def _restore(
    setup: Setup, stage: Stage, plan: _Plan, checkpoints: Checkpoints, batches: Any
) -> TrainState | None:
    template = (plan.state, plan.weights)
    state, problems = checkpoints.restore(template, batches)
    for problem in problems:
        setup.narrator.say(f"{stage.path}: {problem}; using the one before")
    if state is not None and int(state.step) < plan.steps:
        setup.narrator.say(f"{stage.path}: resuming at step {state.step}/{plan.steps}")
    return state


def _plan(setup: Setup, stage: Stage, start: Weights) -> _Plan:
    steps = round(stage.epochs * setup.steps_per_epoch)
    abstract = abstract_like(start, setup.sharding)
    mask = jax.eval_shape(stage.mask, abstract.params, abstract.mask)
    optimizer = stage.optimizer(
        steps=steps, steps_per_epoch=setup.steps_per_epoch, mask=mask
    )
    state = jax.eval_shape(
        lambda weights: _build(setup, stage, steps, weights), abstract
    )
    state = abstract_like(state, setup.sharding)
    masked = mask is not None
    return _Plan(steps, state, weights_of(state, masked=masked), optimizer, masked)


def _enter(setup: Setup, stage: Stage, plan: _Plan, start: Weights) -> TrainState:
    # Jitted, so that the state shares no buffer with `start`: steps donate it.
    build = jax.jit(
        lambda weights: _build(setup, stage, plan.steps, weights),
        out_shardings=setup.sharding,
    )
    return build(start)


def _build(setup: Setup, stage: Stage, steps: int, start: Weights) -> TrainState:
    mask = stage.mask(start.params, start.mask)
    optimizer = stage.optimizer(
        steps=steps, steps_per_epoch=setup.steps_per_epoch, mask=mask
    )
    pruned = Weights(start.params, start.model_state, mask)
    return enter(pruned, optimizer, setup.stage_key(stage.path))


def _train(
    setup: Setup,
    stage: Stage,
    plan: _Plan,
    state: TrainState,
    batches: Any,
    visits: "_Visits",
    interrupt: Interrupt,
) -> TrainState:
    train_step = make_train_step(
        setup.model,
        plan.optimizer,
        preprocess=setup.preprocess,
        out_sharding=setup.sharding,
    )
    setup.narrator.start(stage.path, step=int(state.step), steps=plan.steps)
    try:
        return fit(
            state,
            batches,
            train_step=train_step,
            objective=stage.objective,
            put=lambda batch: put_batch(batch, setup.mesh),
            steps=plan.steps,
            look=lambda step: step % setup.log_every == 0,
            visit=visits.due,
            on_look=visits.look,
            on_visit=visits.visit,
            stop=interrupt.requested,
        )
    except NonFiniteLoss as error:
        raise NonFiniteLoss(
            error.step, error.loss, f"{stage.path}: {visits.last_good()}"
        ) from None


class _Visits:
    """What happens between steps: lines of metrics, evaluation, checkpoints."""

    def __init__(
        self,
        setup: Setup,
        stage: Stage,
        plan: _Plan,
        checkpoints: Checkpoints,
        batches: Any,
        events: Events,
    ):
        self._setup = setup
        self._stage = stage
        self._plan = plan
        self._checkpoints = checkpoints
        self._batches = batches
        self._events = events
        self._status = ""

    def due(self, step: int) -> bool:
        """Whether to stop by after `step`: at epochs' ends and every `save_every`."""
        every = self._setup.save_every
        return step % self._setup.steps_per_epoch == 0 or bool(
            every and step % every == 0
        )

    def look(self, interval: Interval) -> None:
        """Logs an interval of steps."""
        values = dict(interval.metrics)
        if interval.steps:
            images = interval.steps * self._setup.batch_size
            values["images_per_second"] = images / interval.seconds
            values["waiting"] = interval.waiting / interval.seconds
            values["seconds"] = interval.seconds
        values["steps"] = interval.steps
        self._log("train", interval.step, values)
        self._status = _status(values)
        self._setup.narrator.advance(interval.step, self._status)

    def visit(self, state: TrainState, step: int) -> None:
        """Evaluates on the hold-out where that is due, and saves."""
        per_epoch = self._setup.steps_per_epoch
        due = step % (self._setup.eval_every * per_epoch) == 0
        holdout = self._setup.dataset.holdout
        metrics = None
        if holdout is not None and (due or step == self._plan.steps):
            found = self._setup.evaluate(
                weights_of(state, masked=False), holdout, count=False
            )
            metrics = _eval_metrics(found)
            self._log("eval", step, metrics)
        if step % per_epoch == 0 or step == self._plan.steps:
            self._say_epoch(step, metrics)
        self.save(state, metrics)

    def save(self, state: TrainState, metrics: dict[str, float] | None) -> None:
        """Starts a checkpoint."""
        weights = weights_of(state, masked=self._plan.masked)
        self._checkpoints.save(state, weights, self._batches, metrics=metrics)

    def last_good(self) -> str:
        """Says where the newest checkpoint lies."""
        self._checkpoints.wait()
        step = self._checkpoints.last()
        if step is None:
            return "no checkpoint of this stage yet"
        return f"the last good checkpoint is {self._checkpoints.path(step)}"

    def _log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        place = {"stage": self._stage.name, "phase": self._stage.phase, "step": step}
        epoch = {"epoch": step / self._setup.steps_per_epoch}
        self._setup.run.log({"kind": kind, **place, **epoch, **values})
        self._events.scalars(f"{self._stage.path}/{kind}", values, step)

    def _say_epoch(self, step: int, metrics: dict[str, float] | None) -> None:
        epoch = step / self._setup.steps_per_epoch
        line = f"{self._stage.path}  epoch {epoch:g}/{self._stage.epochs:g}"
        line += f"  {self._status}"
        if metrics is not None:
            line += f"  hold-out: top-1 {metrics['top1']:.2%}"
            line += f", activation sparsity {metrics['activation_sparsity']:.2%}"
        self._setup.narrator.say(line)


def _forget_metrics_after(setup: Setup, stage: Stage, step: int) -> None:
    def keep(line: dict[str, Any]) -> bool:
        own = line["stage"] == stage.name and line["phase"] == stage.phase
        return not own or line["step"] <= step

    setup.run.keep_metrics(keep)


def _eval_metrics(found: Evaluation) -> dict[str, float]:
    return {
        "top1": found.top1,
        "top5": found.top5,
        "loss": found.loss,
        "activation_sparsity": found.element_sparsity,
        "weight_sparsity": found.weight_sparsity,
    }


def _status(values: dict[str, float]) -> str:
    text = f"loss {values['loss']:.4f}  accuracy {values['accuracy']:.2%}"
    if "images_per_second" in values:
        text += f"  {values['images_per_second']:,.0f} images/s"
        text += f", waiting {values['waiting']:.1%}"
    return text
