"""What happens between steps: lines of metrics, evaluation, checkpoints."""

from typing import Any

from dst_jax.train.checkpoint import Checkpoints
from dst_jax.train.evaluate import Evaluation
from dst_jax.train.events import Events
from dst_jax.train.loop import Interval
from dst_jax.train.setup import Setup
from dst_jax.train.stages import Stage
from dst_jax.train.state import TrainState, weights_of

__all__ = ["Visits"]


class Visits:
    """The loop's callbacks for one stage."""

    def __init__(
        self,
        setup: Setup,
        stage: Stage,
        *,
        steps: int,
        masked: bool,
        checkpoints: Checkpoints,
        batches: Any,
        events: Events,
    ):
        self._setup = setup
        self._stage = stage
        self._steps = steps
        self._masked = masked
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
        if holdout is not None and (due or step == self._steps):
            found = self._setup.evaluate(
                weights_of(state, masked=False), holdout, count=False
            )
            metrics = _eval_metrics(found)
            self._log("eval", step, metrics)
        if step % per_epoch == 0 or step == self._steps:
            self._say_epoch(step, metrics)
        self.save(state, metrics)

    def save(self, state: TrainState, metrics: dict[str, float] | None) -> None:
        """Starts a checkpoint."""
        weights = weights_of(state, masked=self._masked)
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
