"""What stays the same from stage to stage of a run."""

import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from dst_jax import activations, data
from dst_jax.activations.tap import THRESHOLDS
from dst_jax.runs import Run
from dst_jax.train.console import Console
from dst_jax.train.evaluate import Evaluation, evaluate
from dst_jax.train.sharding import check_batch, make_mesh, replicated
from dst_jax.train.state import Model, Weights, init_weights
from dst_jax.train.step import EvalStep, Preprocess, make_eval_step
from dst_jax.trees import named_leaves

__all__ = ["Context"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Context:
    """Model, data, devices and the run directory.

    Attributes:
      model: a Linen module.
      dataset: from `data.load`.
      run: the run directory.
      batch_size: of training, over all devices of all hosts.
      eval_batch_size: likewise.
      seed: of initialisation, data order and dropout.
      dtype: compute dtype of the network's input.
      prunable: `((regex, bool), ...)`: which weights count for weight sparsity.
      log_every: steps between lines of metrics.
      eval_every: epochs between hold-out evaluations.
      save_every: steps between checkpoints within an epoch; 0 saves at epochs' ends.
      threads: of the data loader, or None for one per core.
      workers: processes of the data loader; 0 uses threads.
      mesh: devices; all by default.
      console: where lines go.
      compiled: steps made so far. Setups of the same model, data and devices may
        share it, as `dataclasses.replace` with another run or seed does.
    """

    model: Model
    dataset: data.Dataset
    run: Run
    batch_size: int
    eval_batch_size: int
    seed: int = 0
    dtype: Any = jnp.float32
    prunable: tuple[tuple[str, bool], ...] = ()
    log_every: int = 50
    eval_every: int = 1
    save_every: int = 0
    threads: int | None = None
    workers: int = 0
    mesh: Mesh = field(default_factory=make_mesh)
    console: Console = field(default_factory=Console)
    compiled: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_batch("batch_size", self.batch_size, self.mesh)
        check_batch("eval_batch_size", self.eval_batch_size, self.mesh)
        if self.batch_size > len(self.dataset.train):
            raise ValueError(
                f"batch_size must be at most the {len(self.dataset.train)} training"
                f" examples, got {self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch."""
        return data.steps_per_epoch(self.dataset.train, self.batch_size)

    @property
    def sharding(self) -> NamedSharding:
        """Of states and metrics: whole on every device."""
        return replicated(self.mesh)

    @property
    def preprocess(self) -> Preprocess:
        """uint8 images to the network's input, on the device."""
        return partial(
            data.normalise,
            mean=self.dataset.mean,
            std=self.dataset.std,
            dtype=self.dtype,
        )

    def fresh_weights(self) -> Weights:
        """Newly initialised weights, the same for every run of this seed."""
        example = jnp.zeros((1, *self.dataset.image_shape), self.dtype)
        init = self.once(("init",), lambda: jax.jit(partial(init_weights, self.model)))
        return init(example, jax.random.key(self.seed))

    @property
    def map_names(self) -> list[str]:
        """The activation maps of the model, in order of execution."""

        def maps() -> Any:
            example = jnp.zeros((1, *self.dataset.image_shape), self.dtype)
            variables = self.model.init(jax.random.key(0), example)
            found = activations.apply_with_activations(self.model, variables, example)
            return found[1]

        return self.once("maps", lambda: list(jax.eval_shape(maps)))

    def check_weights(self, weights: Weights) -> None:
        """Refuses weights of another network, naming what differs.

        Raises:
          ValueError: a name is missing or unexpected, or a shape differs.
        """
        own = jax.eval_shape(self.fresh_weights)
        for part in ("params", "model_state"):
            want = {k: x.shape for k, x in named_leaves(getattr(own, part)).items()}
            # Thresholds are put on maps later: a fresh network has none.
            given = {k: v for k, v in getattr(weights, part).items() if k != THRESHOLDS}
            have = {k: x.shape for k, x in named_leaves(given).items()}
            wrong = [
                f"{name}: the model has {want.get(name)}, the weights {have.get(name)}"
                for name in sorted(want.keys() | have.keys())
                if want.get(name) != have.get(name)
            ]
            if wrong:
                raise ValueError(f"{part} do not fit the model: {'; '.join(wrong)}")

    def stage_key(self, path: str) -> jax.Array:
        """The random key of a stage, whatever other stages the run has."""
        return jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(path.encode()))

    def stage_seed(self, path: str) -> int:
        """An integer in place of a key, for what takes a seed."""
        return zlib.crc32(f"{self.seed}/{path}".encode()) & 0x7FFFFFFF

    def train_batches(self, path: str) -> Any:
        """A stage's batches: a Grain iterator with its own seed, to be closed."""
        return data.train_iterator(
            self.dataset.train,
            batch_size=self.batch_size,
            seed=self.stage_seed(path),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self.threads,
            workers=self.workers,
        )

    def evaluate(
        self,
        weights: Weights,
        split: data.Split,
        *,
        count: bool,
        check: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Evaluates weights over a whole split, with or without exact counts."""
        batches = data.eval_batches(
            split,
            batch_size=self.eval_batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self.threads,
        )
        return evaluate(
            self.once(("evaluate", count), lambda: self._make_eval_step(count=count)),
            weights,
            batches,
            mesh=self.mesh,
            prunable=self.prunable,
            check=check,
        )

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, or what it returned when this key was last asked for."""
        if key not in self.compiled:
            self.compiled[key] = make()
        return self.compiled[key]

    def _make_eval_step(self, *, count: bool) -> EvalStep:
        return make_eval_step(
            self.model,
            preprocess=self.preprocess,
            count=count,
            out_sharding=self.sharding,
        )
