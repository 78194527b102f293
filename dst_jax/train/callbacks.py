"""What happens between steps: lines of metrics, evaluation, checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from dst_jax import pruning
from dst_jax.train import tasks
from dst_jax.train.checkpoint import Checkpoints
from dst_jax.train.context import Context
from dst_jax.train.evaluate import Evaluation
from dst_jax.train.events import Events
from dst_jax.train.finite import NonFiniteNetwork, check_tree
from dst_jax.train.loop import Interval
from dst_jax.train.stage import Stage
from dst_jax.train.state import TrainState, has_method
from dst_jax.train.tasks import Task
from dst_jax.typing import Network

__all__ = ["Callbacks"]


class Callbacks:
    """The loop's callbacks for one stage.

    Args:
      context: the run's.
      stage: the stage that is trained.
      steps: steps in the stage.
      network_at: the network in a state; in the last one, what the stage hands on.
      checkpoints: the stage's checkpoints.
      events: where scalars go besides metrics.jsonl.
    """

    def __init__(
        self,
        context: Context,
        stage: Stage,
        *,
        steps: int,
        network_at: Callable[[TrainState, int], Network],
        checkpoints: Checkpoints,
        events: Events,
    ):
        self._context = context
        self._stage = stage
        self._steps = steps
        self._network_at = network_at
        self._checkpoints = checkpoints
        self._events = events
        self._status = ""
        self._emptied: set[str] = set()
        self.saved: Network | None = None
        """The network of the last checkpoint."""

    def due(self, step: int) -> bool:
        """Whether to save after `step`: at epochs' ends and every `save_every`."""
        every = self._context.save_every
        return step % self._context.steps_per_epoch == 0 or bool(
            every and step % every == 0
        )

    def log(self, interval: Interval, state: TrainState) -> None:
        """Logs an interval of steps, and the masks if a method chooses them.

        Raises:
          NonFiniteNetwork: what is trained is not finite.
        """
        check_tree(state.params, self._context.mesh, step=interval.step)
        values = dict(interval.metrics)
        if interval.steps:
            images = interval.steps * self._context.batch_size
            values["images_per_second"] = images / interval.seconds
            values["waiting"] = interval.waiting / interval.seconds
            values["seconds"] = interval.seconds
        values["steps"] = interval.steps
        self._log("train", interval.step, values)
        self._status = _status(self._task, values)
        self._context.console.advance(interval.step, self._status)
        if has_method(state.opt_state):
            self._log_masks(state, interval.step)

    def save(self, state: TrainState, step: int) -> Network:
        """Evaluates on the hold-out where that is due, and starts a checkpoint.

        Returns:
          The network that is saved.

        Raises:
          NonFiniteNetwork: it is not finite, or its evaluation is not; it is not saved.
        """
        network = self.saved = self._network_at(state, step)
        check_tree(dict(network.variables), self._context.mesh, step=step)
        per_epoch = self._context.steps_per_epoch
        due = step % (self._context.eval_every * per_epoch) == 0
        holdout = self._context.dataset.holdout
        metrics = None
        if holdout is not None and self._steps and (due or step == self._steps):
            try:
                found = self._context.evaluate(network, holdout, count=False)
            except NonFiniteNetwork as error:
                raise error.placed("", step=step) from None
            metrics = _eval_metrics(found)
            self._log("eval", step, metrics)
        if self._steps and (step % per_epoch == 0 or step == self._steps):
            self._say_epoch(step, metrics)
        self._context.run.sync()
        path = self._stage.path
        position = self._context.position(path, step) if self._steps else None
        self._checkpoints.save(state, network, position, metrics=metrics)
        return network

    def last_good(self) -> str:
        """Says where the newest checkpoint is."""
        self._checkpoints.wait()
        step = self._checkpoints.last()
        if step is None:
            return "no checkpoint of this stage yet"
        return f"the last good checkpoint is {self._checkpoints.path(step)}"

    @property
    def _task(self) -> Task:
        own = self._stage.objective.task
        return self._context.task if own is None else own

    def _place(self, step: int) -> dict[str, Any]:
        return {
            "stage": self._stage.name,
            "phase": self._stage.phase,
            "step": step,
            "epoch": step / self._context.steps_per_epoch,
        }

    def _log_masks(self, state: TrainState, step: int) -> None:
        measure = self._context.once(
            ("statistics",),
            lambda: jax.jit(_statistics, out_shardings=self._context.sharding),
        )
        found = jax.device_get(measure(state.opt_state))
        layers = {
            name: {key: value.item() for key, value in layer.items()}
            for name, layer in found.items()
        }
        self._context.run.log_masks({**self._place(step), "layers": layers})
        self._say_emptied(layers, step)

    def _say_emptied(
        self, layers: Mapping[str, Mapping[str, float]], step: int
    ) -> None:
        """Names layers that a method has pruned whole, each once."""
        gone = [name for name, layer in layers.items() if not layer["active"]]
        new = [name for name in gone if name not in self._emptied]
        self._emptied.update(new)
        if new:
            place = f"{self._stage.path}: pruned whole by step {step}"
            self._context.console.say(f"{place}: {', '.join(new)}")

    def _log(self, kind: str, step: int, values: dict[str, Any]) -> None:
        self._context.run.log({"kind": kind, **self._place(step), **values})
        self._events.scalars(f"{self._stage.path}/{kind}", values, step)

    def _say_epoch(self, step: int, metrics: dict[str, float] | None) -> None:
        epoch = step / self._context.steps_per_epoch
        line = f"{self._stage.path}  epoch {epoch:g}/{self._stage.epochs:g}"
        line += f"  {self._status}"
        if metrics is not None:
            task = self._context.task
            best = tasks.say(task, {task.best[0]: metrics[task.best[0]]})
            line += f"  hold-out: {best}"
            line += f", activation sparsity {metrics['activation_sparsity']:.2%}"
        self._context.console.say(line)


def _statistics(opt_state: optax.OptState) -> dict[str, dict[str, jax.Array]]:
    """Numbers about every layer's mask and its channels."""
    channels = pruning.channel_statistics(opt_state)
    layers = pruning.statistics(opt_state)
    return {name: layer | channels[name] for name, layer in layers.items()}


def _eval_metrics(found: Evaluation) -> dict[str, float]:
    return {
        **found.metrics,
        "activation_sparsity": found.element_sparsity,
        "weight_sparsity": found.weight_sparsity,
    }


def _status(task: Task, values: Mapping[str, float]) -> str:
    """The line of a bar: the loss, and the best metric where batches have it."""
    text = f"loss {values['loss']:.4f}"
    metric = getattr(task, "training", task.best[0])
    if metric in values and metric != "loss":
        text += f"  {tasks.say(task, {metric: values[metric]})}"
    if "images_per_second" in values:
        text += f"  {values['images_per_second']:,.0f} images/s"
        text += f", waiting {values['waiting']:.1%}"
    return text
