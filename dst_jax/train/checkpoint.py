"""Orbax checkpoints of one stage: asynchronous, atomic, verified before use."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import grain
import jax
import orbax.checkpoint as ocp
from jax.sharding import Sharding
from jaxtyping import Array

from dst_jax.models.linen import as_model
from dst_jax.penalties.adaptive import Adaptive
from dst_jax.train import integrity
from dst_jax.train.state import TrainState
from dst_jax.typing import Model, Network, Variables

__all__ = ["Checkpoints", "abstract_like", "is_without_model", "load_weights"]


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
            "weights": ocp.args.StandardSave(_weights(network)),
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
        weights = _weights(network)
        if "model_state" in self._apart:
            sharding = jax.tree.leaves(state)[0].sharding
            weights = _shapes_on_disk(self.path(step), sharding)
        items: dict[str, Any] = {
            "weights": ocp.args.StandardRestore(weights),
            "training": ocp.args.StandardRestore(self._training(state)),
        }
        if position is not None:
            items["data"] = grain.checkpoint.CheckpointRestore(position)
        found = self._manager.restore(step, args=ocp.args.Composite(**items))
        common = {k: found["weights"][k] for k in ("params", "model_state")}
        return TrainState(**self._read(common | found["training"]))

    def _training(self, state: TrainState) -> dict[str, Any]:
        """What the network's weights do not say."""
        own = {"step": state.step, "opt_state": state.opt_state, "key": state.key}
        if state.adaptive is not None:
            # A single one as it is, as runs of before have it.
            one = len(state.adaptive) == 1
            own["adaptive"] = state.adaptive[0] if one else state.adaptive
        return own | {name: getattr(state, name) for name in self._apart}

    def _read(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a state, from those that are saved."""
        if isinstance(fields.get("adaptive"), Adaptive):
            fields["adaptive"] = (fields["adaptive"],)
        return fields

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


def load_weights(
    path: str | Path, *, sharding: Sharding, model: Model | nn.Module | None = None
) -> Network:
    """The network in any checkpoint, without its optimizer.

    Shapes are those on disk: a network that was made smaller is loaded as it is.

    Args:
      path: a checkpoint (`.../checkpoints/STAGE/STEP`), a stage's directory (its
        newest intact checkpoint) or a run directory (its last stage's).
      sharding: where the arrays go.
      model: the network's function, or a Linen module. Without it the network can be
        read, but not called; a run gives it its own model.

    Raises:
      ValueError: there is no intact checkpoint at `path`.
    """
    step = _find_checkpoint(Path(path).absolute())
    shapes = _shapes_on_disk(step, sharding)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        found = reader.restore(step / "weights", args=ocp.args.StandardRestore(shapes))
    variables = {"params": found["params"], **found["model_state"]}
    own = _unknown if model is None else as_model(model)
    return Network(own, variables, found["mask"])


def is_without_model(network: Network) -> bool:
    """Whether a network was loaded without its model.

    >>> is_without_model(Network(print, {"params": {}}))
    False
    """
    return network.model is _unknown


def _unknown(
    variables: Variables,
    x: Array,
    *,
    train: bool = False,
    rngs: Mapping[str, Array] | None = None,
) -> Any:
    raise ValueError("the network was loaded without its model: load_weights(model=)")


def _weights(network: Network) -> dict[str, Any]:
    """The item `weights` of a checkpoint."""
    return {
        "params": network.params,
        "model_state": network.model_state,
        "mask": network.mask,
    }


def _shapes_on_disk(checkpoint: Path, sharding: Sharding) -> dict[str, Any]:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        metadata = reader.metadata(checkpoint / "weights").item_metadata
    return abstract_like(dict(metadata), sharding)


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
