"""Orbax checkpoints of one stage: asynchronous, atomic, verified before use."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp

from dst_jax.penalties.adaptive import Adaptive
from dst_jax.train import integrity
from dst_jax.train.saved_network import shapes_on_disk, weights_item
from dst_jax.train.state import TrainState
from dst_jax.typing import Network

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints of one stage; a context manager that waits for saves to end.

    Keeps the last two and the one that is best on the hold-out. Every checkpoint
    carries a manifest of its files, written before the atomic rename that commits it,
    so that a truncated or missing file is seen before anything is restored.

    A checkpoint has the network that can be handed on as `weights` (`params`,
    `model_state`, `mask`), and what only training needs as `training`.

    Args:
      directory: the stage's.
      best: a metric of the hold-out and whether it should be "max" or "min".
      apart: fields of the state that the network does not have as they are, and that
        are saved with `training`: some of `params` and `model_state`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Checkpoints(Path(folder)) as checkpoints:
    ...         print(checkpoints.last(), checkpoints.path(8).name)
    None 8
    """

    def __init__(
        self,
        directory: Path,
        *,
        best: tuple[str, str] = ("top1", "max"),
        apart: Collection[str] = (),
    ):
        self.directory = Path(directory).absolute()
        self._apart = tuple(apart)
        metric, direction = best

        def quality(metrics: Mapping[str, float]) -> float:
            return metrics[metric] if direction == "max" else -metrics[metric]

        # Before Orbax looks: it reads the metrics of every checkpoint it finds.
        self._problems = integrity.set_aside_damaged(self.directory)
        policies = ocp.checkpoint_managers
        kept = policies.BestN(
            get_metric_fn=quality, n=1, keep_checkpoints_without_metrics=False
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                best_fn=quality,
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(2), kept]
                ),
                async_options=ocp.AsyncOptions(
                    post_finalization_callback=self._write_manifests
                ),
                cleanup_tmp_directories=True,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()

    def path(self, step: int) -> Path:
        """The directory of one checkpoint."""
        return self.directory / str(step)

    def last(self) -> int | None:
        """The step of the last checkpoint on disk, whether or not it is intact."""
        return self._manager.latest_step()

    def save(
        self,
        state: TrainState,
        network: Network,
        position: grain.DatasetIterator[Any] | None,
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Starts to save; returns once the arrays are copied.

        Args:
          state: the training state.
          network: the network in it, saved apart so that it can be loaded without
            knowing the optimizer.
          position: the Grain iterator, or None for a stage without data.
          metrics: metrics of the hold-out, which decide which checkpoint is the best.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        items: dict[str, Any] = {
            "weights": ocp.args.StandardSave(weights_item(network)),
            "training": ocp.args.StandardSave(self._training(state)),
        }
        if position is not None:
            items["data"] = grain.checkpoint.CheckpointSave(position)
        self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._manager.wait_until_finished()

    def restore(
        self,
        template: tuple[TrainState, Network],
        position: grain.DatasetIterator[Any] | None,
    ) -> tuple[TrainState | None, list[str]]:
        """The newest intact state, and a line for every checkpoint passed over.

        A damaged checkpoint is moved aside (`STEP.damaged`), so that training can
        write that step again.

        Args:
          template: abstract state and network, see `abstract_like`. Where the whole
            state is saved apart, the network on disk may be another one.
          position: the Grain iterator, moved to where the checkpoint was taken.

        Returns:
          `(state, problems)`; the state is None if there is nothing to restore.
        """
        problems = list(self._problems)
        beginning = {} if position is None else position.get_state()
        while (step := self._manager.latest_step()) is not None:
            try:
                return self._load(step, template, position), problems
            except (ValueError, OSError, KeyError, TypeError) as error:
                fault = f"cannot be read ({type(error).__name__}: {error})"
            problems.append(f"checkpoint {self.path(step)} {fault}")
            if position is not None:
                position.set_state(beginning)  # what failed may have moved it
            if jax.process_index() == 0:
                integrity.set_aside(self.path(step))
            integrity.synchronise(f"set aside {self.path(step)}")
            self._manager.reload()
        return None, problems

    def _load(
        self,
        step: int,
        template: tuple[TrainState, Network],
        position: grain.DatasetIterator[Any] | None,
    ) -> TrainState:
        state, network = template
        weights = weights_item(network)
        if "model_state" in self._apart:
            sharding = jax.tree.leaves(state)[0].sharding
            weights = shapes_on_disk(self.path(step), sharding)
        items: dict[str, Any] = {
            "weights": ocp.args.StandardRestore(weights),
            "training": ocp.args.StandardRestore(self._training(state)),
        }
        if position is not None:
            items["data"] = grain.checkpoint.CheckpointRestore(position)
        found = self._manager.restore(step, args=ocp.args.Composite(**items))
        common = {k: found["weights"][k] for k in ("params", "model_state")}
        fields = common | found["training"]
        if isinstance(fields.get("adaptive"), Adaptive):
            fields["adaptive"] = (fields["adaptive"],)
        return TrainState(**fields)

    def _training(self, state: TrainState) -> dict[str, Any]:
        """What the network's weights do not say."""
        own = {"step": state.step, "opt_state": state.opt_state, "key": state.key}
        if state.adaptive is not None:
            # A single one is saved without a tuple around it, as in earlier runs.
            one = len(state.adaptive) == 1
            own["adaptive"] = state.adaptive[0] if one else state.adaptive
        return own | {name: getattr(state, name) for name in self._apart}

    def _write_manifests(self) -> None:
        """Called by Orbax when all files of a save are in its temporary directory."""
        if jax.process_index() == 0:
            for scratch in self.directory.glob("*.orbax-checkpoint-tmp"):
                integrity.write_manifest(scratch)
