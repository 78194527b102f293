"""Orbax checkpoints of one stage: asynchronous, atomic, verified before use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import orbax.checkpoint as ocp
from jax.sharding import Sharding

from dst_jax.train import integrity
from dst_jax.train.state import TrainState, Weights

__all__ = ["Checkpoints", "abstract_like", "load_weights"]


class Checkpoints:
    """The checkpoints of one stage; a context manager that waits for saves to end.

    Keeps the last two and the one with the best hold-out accuracy. Every checkpoint
    carries a manifest of its files, written before the atomic rename that commits it,
    so that a truncated or missing file is seen before anything is restored.

    Args:
      directory: of the stage.
      dense_weights: whether the state's weights are not those of the network, and are
        saved apart.
    """

    def __init__(self, directory: Path, *, dense_weights: bool = False):
        self.directory = Path(directory).absolute()
        self._dense_weights = dense_weights
        # Before Orbax looks: it reads the metrics of every checkpoint it finds.
        self._problems = integrity.set_aside_damaged(self.directory)
        policies = ocp.checkpoint_managers
        best = policies.BestN(
            get_metric_fn=_top1, n=1, keep_checkpoints_without_metrics=False
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                best_fn=_top1,
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(2), best]
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
        weights: Weights,
        position: grain.DatasetIterator[Any] | None,
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Starts to save; returns once the arrays are copied.

        Args:
          state: the training state.
          weights: the network in it, saved apart so that it can be loaded without
            knowing the optimizer.
          position: the Grain iterator, or None for a stage without data.
          metrics: the hold-out's; `top1` decides which checkpoint is the best.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        items: dict[str, Any] = {
            "weights": ocp.args.StandardSave(weights._asdict()),
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
        template: tuple[TrainState, Weights],
        position: grain.DatasetIterator[Any] | None,
    ) -> tuple[TrainState | None, list[str]]:
        """The newest intact state, and a line for every checkpoint passed over.

        A damaged checkpoint is moved aside (`STEP.damaged`), so that training can
        write that step again.

        Args:
          template: abstract state and weights, see `abstract_like`.
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
        template: tuple[TrainState, Weights],
        position: grain.DatasetIterator[Any] | None,
    ) -> TrainState:
        state, weights = template
        items: dict[str, Any] = {
            "weights": ocp.args.StandardRestore(weights._asdict()),
            "training": ocp.args.StandardRestore(self._training(state)),
        }
        if position is not None:
            items["data"] = grain.checkpoint.CheckpointRestore(position)
        found = self._manager.restore(step, args=ocp.args.Composite(**items))
        network = {
            "params": found["weights"]["params"],
            "model_state": found["weights"]["model_state"],
        }
        return TrainState(**(network | found["training"]))

    def _training(self, state: TrainState) -> dict[str, Any]:
        """What the network's weights do not say."""
        own = {"step": state.step, "opt_state": state.opt_state, "key": state.key}
        if state.adaptive is not None:
            own["adaptive"] = state.adaptive
        if self._dense_weights:
            own["params"] = state.params
        return own

    def _write_manifests(self) -> None:
        """Called by Orbax when all files of a save lie in its temporary directory."""
        if jax.process_index() == 0:
            for scratch in self.directory.glob("*.orbax-checkpoint-tmp"):
                integrity.write_manifest(scratch)


def abstract_like(tree: Any, sharding: Sharding) -> Any:
    """Shapes, dtypes and one sharding for every array of a tree: what Orbax needs."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )


def load_weights(path: str | Path, *, sharding: Sharding) -> Weights:
    """The network in any checkpoint, without its optimizer.

    Args:
      path: a checkpoint (`.../checkpoints/STAGE/STEP`), a stage's directory (its
        newest intact checkpoint) or a run directory (its last stage's).
      sharding: where the arrays go.

    Raises:
      ValueError: there is no intact checkpoint at `path`.
    """
    step = _find_checkpoint(Path(path).absolute())
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        metadata = reader.metadata(step / "weights").item_metadata
        tree = jax.tree.map(
            lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=sharding),
            dict(metadata),
        )
        found = reader.restore(step / "weights", args=ocp.args.StandardRestore(tree))
    return Weights(found["params"], found["model_state"], found["mask"])


def _find_checkpoint(path: Path) -> Path:
    if (path / "checkpoints").is_dir():
        stages = [p for p in (path / "checkpoints").iterdir() if p.is_dir()]
        stages = sorted(stages, key=lambda p: p.stat().st_mtime, reverse=True)
    else:
        stages = [path]
    for stage in stages:
        candidates = (
            [stage] if (stage / "weights").is_dir() else integrity.numbered(stage)
        )
        for candidate in candidates:
            if integrity.find_fault(candidate) is None:
                return candidate
    raise ValueError(
        f"no intact checkpoint at {path}; give a run directory, a stage's directory"
        " (RUN/checkpoints/STAGE) or one checkpoint (RUN/checkpoints/STAGE/STEP)"
    )


def _top1(metrics: Any) -> float:
    return metrics["top1"]
