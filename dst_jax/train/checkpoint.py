"""Orbax checkpoints of one stage: asynchronous, atomic, verified before use."""

import logging
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from dst_jax.penalties.adaptive import Adaptive
from dst_jax.runs import check_path
from dst_jax.train import integrity
from dst_jax.train.agreement import by_first_process, is_lost
from dst_jax.train.empty_arrays import packed, unpacked
from dst_jax.train.manifest import seal, write_manifest
from dst_jax.train.saved_network import (
    PLANS,
    CannotRestore,
    differences,
    restoring,
    shapes_on_disk,
    weights_item,
)
from dst_jax.train.state import TrainState
from dst_jax.typing import Network

__all__ = ["Checkpoints", "Restored"]


_OS_ERROR = re.compile(r"os_error_code='(\d+)'")
"""How TensorStore says which error of the system it met."""


class Restored(NamedTuple):
    """What was found on disk.

    Attributes:
      state: the newest intact state; None if there is nothing to restore.
      problems: a line for every checkpoint that was passed over.
      notes: a line for what is worth saying of the one that is used.
    """

    state: TrainState | None
    problems: list[str]
    notes: list[str]


class Checkpoints:
    """The checkpoints of one stage; a context manager that waits for saves to end.

    Keeps the last two and the one that is best on the hold-out. Every checkpoint
    carries a manifest of its files with their digests, written before the atomic rename
    that commits it, so that damage is seen before anything is read.

    A checkpoint has the network that can be handed on as `weights` (`params`,
    `model_state`, `mask`), what only training needs as `training`, and its place in the
    data as `position`: numbers of the whole job, the same for any number of processes.

    Args:
      directory: the stage's.
      best: a metric of the hold-out and whether it should be "max" or "min".
      apart: fields of the state that the network does not have as they are, and that
        are saved with `training`: some of `params` and `model_state`.

    Raises:
      ValueError: `directory` has a character in its path that Orbax cannot read back.
      CannotRestore: Orbax cannot read a checkpoint that has no digests.
      OSError: a file cannot be read.

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
        check_path(self.directory)
        self._apart = tuple(apart)
        metric, direction = best

        def quality(metrics: Mapping[str, float]) -> float:
            return metrics[metric] if direction == "max" else -metrics[metric]

        # Before Orbax looks: it reads the metrics of every checkpoint it finds.
        damage = by_first_process(
            f"look through {self.directory}",
            lambda: integrity.set_aside_damaged(self.directory),
        )
        self._damage = damage or integrity.Damage([], [])
        self._quiet = _Quiet()
        logging.getLogger("absl").addFilter(self._quiet)
        there = bool(integrity.numbered(self.directory))
        with restoring(self.directory) if there else nullcontext():
            self._manager = _Manager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=quality,
                    async_options=ocp.AsyncOptions(
                        post_finalization_callback=self._write_manifests
                    ),
                    cleanup_tmp_directories=True,
                ),
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if is_lost(error[1]):
                return  # a save would wait for the process that is gone
            with self._writing():
                self._manager.close()
            self._tidy_up()
        finally:
            logging.getLogger("absl").removeFilter(self._quiet)

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
        position: Mapping[str, int] | None = None,
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Starts to save; returns once the arrays are copied.

        Args:
          state: the training state.
          network: the network in it, saved apart so that it can be loaded without
            knowing the optimizer.
          position: place in the data, as numbers of the whole job; None for a stage
            without data.
          metrics: metrics of the hold-out, which decide which checkpoint is the best.

        Raises:
          OSError: this or an earlier checkpoint cannot be written; names the reason.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        items: dict[str, Any] = {
            "weights": ocp.args.StandardSave(packed(weights_item(network))),
            "training": ocp.args.StandardSave(packed(self._training(state))),
        }
        if position is not None:
            items["position"] = ocp.args.JsonSave(dict(position))
        plans = list(getattr(network.model, "plans", ()))
        if plans:
            items[PLANS] = ocp.args.JsonSave({"plans": plans})
        self.wait()
        with self._writing():
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
          OSError: a checkpoint cannot be written; names the reason.
        """
        with self._writing():
            self._manager.wait_until_finished()
        self._tidy_up()

    def restore(self, template: tuple[TrainState, Network]) -> Restored:
        """The newest intact state, and a line for every checkpoint passed over.

        A damaged checkpoint has been moved aside (`STEP.damaged`), so that training can
        write that step again.

        Args:
          template: abstract state and network, see `abstract_like`. Where the whole
            state is saved apart, the network on disk may be another one.

        Raises:
          CannotRestore: the newest intact checkpoint holds something else than the
            template, or cannot be read; nothing is changed.
        """
        step = self._manager.latest_step()
        state = None if step is None else self._load(step, template)
        return Restored(state, *self._damage)

    def position(self, step: int) -> dict[str, int] | None:
        """The place in the data that a checkpoint was taken at, as it was saved.

        Returns:
          None if it was saved without one, as by earlier versions.
        """
        if not (self.path(step) / "position").is_dir():
            return None
        items = ocp.args.Composite(position=ocp.args.JsonRestore())
        with restoring(self.path(step)):
            return self._manager.restore(step, args=items)["position"]

    def _load(self, step: int, template: tuple[TrainState, Network]) -> TrainState:
        state, network = template
        weights = packed(weights_item(network))
        training = packed(self._training(state))
        path = self.path(step)
        with restoring(path):
            if "model_state" in self._apart:
                sharding = jax.tree.leaves(state)[0].sharding
                weights = shapes_on_disk(path, sharding)
            for item, tree in (("weights", weights), ("training", training)):
                if found := differences(path / item, tree):
                    raise CannotRestore(path, f"{item}: {'; '.join(found)}")
            items = {
                "weights": ocp.args.StandardRestore(weights),
                "training": ocp.args.StandardRestore(training),
            }
            read = self._manager.restore(step, args=ocp.args.Composite(**items))
        found = {item: unpacked(read[item]) for item in items}
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

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what Orbax raises of a failed write into one line."""
        try:
            yield
        except Exception as error:
            text = " ".join(str(error).split())
            code = _OS_ERROR.search(text)
            number = int(code[1]) if code else getattr(error, "errno", None)
            if number is not None:
                where = getattr(error, "filename", None) or str(self.directory)
                raise OSError(number, os.strerror(number), where) from error
            raise OSError(
                f"a checkpoint in {self.directory} cannot be written: {text[:400]}"
            ) from error

    def _write_manifests(self) -> None:
        """Called by Orbax when all files of a save are in its temporary directory."""
        if jax.process_index() == 0:
            for scratch in self.directory.glob("*.orbax-checkpoint-tmp"):
                write_manifest(scratch)

    def _tidy_up(self) -> None:
        """Seals the newest checkpoint and deletes those that are not kept."""
        if jax.process_index() != 0:
            return
        found = integrity.numbered(self.directory)
        kept = {path.name for path in found[:2]} | {str(self._manager.best_step())}
        for path in found[:1]:
            with suppress(FileNotFoundError):  # removed by a person
                seal(path)
        for path in found:
            if path.name not in kept:
                integrity.discard(path)


class _Manager(ocp.CheckpointManager):
    """Asks JAX's preemption service nothing: `Interrupt` does, by its own count."""

    def reached_preemption(self, step: int) -> bool:
        del step
        return False


class _Quiet(logging.Filter):
    """Drops the tracebacks that Orbax logs in its threads: it raises the error, too.

    Items of a checkpoint have no metadata of a checkpoint, of which Orbax warns.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        warned = "Metadata file does not exist" in str(record.msg)
        return record.levelno < logging.ERROR and not warned
