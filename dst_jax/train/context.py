"""What stays the same from stage to stage of a run."""

import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from dst_jax import checks, data
from dst_jax.activations.tap import PATTERNS, THRESHOLDS
from dst_jax.kernels import Kernels
from dst_jax.models.linen import as_model
from dst_jax.models.smaller import Smaller
from dst_jax.parametrisations import GATES
from dst_jax.runs import Run
from dst_jax.train import tasks, traces
from dst_jax.train.agreement import anywhere
from dst_jax.train.console import Console
from dst_jax.train.evaluate import Evaluation, evaluate
from dst_jax.train.events import Events
from dst_jax.train.saved_network import with_model
from dst_jax.train.sharding import check_batch, make_mesh, replicated
from dst_jax.train.state import init_network
from dst_jax.train.step import EvalStep, Preprocess, make_eval_step
from dst_jax.train.tasks import Task, classification
from dst_jax.train.traces import shapes_of
from dst_jax.trees import named_leaves
from dst_jax.typing import Model, Network, Rules, is_traced

__all__ = ["Context"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Context:
    """Model, task, data, devices and the run directory.

    Attributes:
      model: the network's function, or a Linen module, which is wrapped. Stages may go
        on with other ones; this is what a run without given weights starts from.
      dataset: data set from `data.load`.
      run: the run directory.
      batch_size, eval_batch_size: examples of a step, over all devices of all hosts.
      task: loss and metrics.
      seed: seed of initialisation, data order and dropout, in [0, 2**32).
      dtype: compute dtype of the network's input.
      prunable: `((regex, bool), ...)`: which weights count for weight sparsity.
      log_every: steps between lines of metrics.
      eval_every: epochs between hold-out evaluations.
      save_every: steps between checkpoints within an epoch; 0 saves at epochs' ends.
      ledger_every: steps between those that a ledger counts; 0 keeps no ledger.
      union_tile: side of the tiles of `activations.union_sparsity`; 0 for none.
      threads: threads of the data loader, or None for one per core.
      workers: processes of the data loader; 0 uses threads.
      mesh: devices; all by default.
      console: where lines go.
      events: logs of scalars next to TensorBoard's; `train.train` closes them.
      compiled: steps made so far. Contexts of the same task, data and devices may share
        it, as `dataclasses.replace` with another run or seed does.

    >>> from dst_jax import models
    >>> context = Context(
    ...     model=models.create("mlp", num_classes=10), dataset=data.load("digits"),
    ...     run=Run("runs/mlp"), batch_size=128, eval_batch_size=256)
    >>> context.steps_per_epoch
    8
    """

    model: Model | nn.Module
    dataset: data.Dataset
    run: Run
    batch_size: int
    eval_batch_size: int = 256
    task: Task = field(default_factory=classification)
    seed: int = 0
    dtype: jax.typing.DTypeLike = jnp.float32
    prunable: Rules = ()
    log_every: int = 50
    eval_every: int = 1
    save_every: int = 0
    ledger_every: int = 0
    union_tile: int = 2
    threads: int | None = None
    workers: int = 0
    mesh: Mesh = field(default_factory=make_mesh)
    console: Console = field(default_factory=Console)
    events: tuple[Events, ...] = ()
    compiled: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_model(self.model))
        tasks.check(self.task)
        least = {"log_every": 1, "eval_every": 1}
        least |= dict.fromkeys(("save_every", "ledger_every", "union_tile"), 0)
        for name, value in least.items():
            checks.at_least(name, getattr(self, name), value)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in [0, 2**32), got {self.seed}")
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
        """The sharding of states and metrics: whole on every device."""
        return replicated(self.mesh)

    @property
    def preprocess(self) -> Preprocess:
        """uint8 images to the network's input, on the device."""
        mean, std = self.dataset.mean, self.dataset.std
        return partial(data.normalise, mean=mean, std=std, dtype=self.dtype)

    @property
    def example(self) -> jax.ShapeDtypeStruct:
        """The shape and dtype of a network's input for one example, (1, ...)."""
        return jax.ShapeDtypeStruct((1, *self.dataset.image_shape), self.dtype)

    def fresh_weights(self) -> Network:
        """A newly initialised network, the same for every run of this seed.

        Raises:
          ValueError: the model does not say how it is initialised.
        """
        example = jnp.zeros(self.example.shape, self.example.dtype)
        init = self.once(
            ("init", self.model), lambda: jax.jit(partial(init_network, self.model))
        )
        return init(example, jax.random.key(self.seed))

    def with_model(self, network: Network) -> Network:
        """A network with the run's model, if it was loaded without one.

        One from which units have been removed has what the plan makes of the model.
        """
        return with_model(network, as_model(self.model))

    @property
    def map_names(self) -> list[str]:
        """The activation maps of the model, in order of execution."""
        return self.maps_of(jax.eval_shape(self.fresh_weights))

    def maps_of(self, network: Network, *, train: bool = False) -> list[str]:
        """The activation maps of a network, in order of execution; nothing is run.

        Args:
          network: any network for this data and task.
          train: whether those of training, which may be more.
        """
        return self.once(
            ("maps", train, *shapes_of(network)),
            lambda: traces.map_names(network, self.example, train=train),
        )

    def kernels_of(self, network: Network) -> Kernels:
        """The kernels of a network from one abstract trace in evaluation mode.

        Masks, methods, weight decay, penalties and figures of sparsity are given these.
        """
        return self.once(
            ("kernels", *shapes_of(network)),
            lambda: traces.kernels_of(network, self.example),
        )

    def check_weights(self, network: Network) -> None:
        """Refuses the variables of another network, naming what differs.

        Raises:
          ValueError: a name is missing or unexpected, or a shape differs.
        """
        own = jax.eval_shape(self.fresh_weights)
        if isinstance(network.model, Smaller):
            whole = network.model.whole_variables(network.variables)
            network = network._replace(variables=whole)
        for part in ("params", "model_state"):
            want = {k: x.shape for k, x in named_leaves(getattr(own, part)).items()}
            # These are put on later: a fresh network has none.
            later = (THRESHOLDS, PATTERNS, GATES)
            given = {k: v for k, v in getattr(network, part).items() if k not in later}
            have = {k: x.shape for k, x in named_leaves(given).items()}
            wrong = [
                f"{name}: the model has {want.get(name)}, the weights {have.get(name)}"
                for name in sorted(want.keys() | have.keys())
                if want.get(name) != have.get(name)
            ]
            if wrong:
                raise ValueError(f"{part} do not fit the model: {'; '.join(wrong)}")

    def stage_key(self, path: str) -> jax.Array:
        """The random key of a stage, the same whichever other stages a run has."""
        return jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(path.encode()))

    def stage_seed(self, path: str) -> int:
        """An integer in place of a key, for what takes a seed."""
        return zlib.crc32(f"{self.seed}/{path}".encode()) & 0x7FFFFFFF

    def train_batches(self, path: str, *, start: int = 0) -> grain.DatasetIterator[Any]:
        """A stage's batches: a Grain iterator with its own seed, to be closed.

        Args:
          path: path of the stage.
          start: number of global batches that are left out.
        """
        return data.train_iterator(
            self.dataset.train,
            batch_size=self.batch_size,
            seed=self.stage_seed(path),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self.threads,
            workers=self.workers,
            start=start,
        )

    def position(self, path: str, step: int) -> dict[str, int]:
        """A stage's place in the data after a step, for any number of processes.

        Args:
          path: path of the stage.
          step: number of batches that have been taken.
        """
        return {
            "batches": step,
            "batch_size": self.batch_size,
            "seed": self.stage_seed(path),
        }

    def evaluate(
        self,
        network: Network,
        split: data.Split,
        *,
        count: bool,
        check: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Evaluates a network over a whole split.

        Args:
          network: any network for this data and task.
          split: a split of the data set.
          count: whether multiplications are counted.
          check: called before every batch; may raise to stop.
        """
        network = self.with_model(network)
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        batches = data.eval_batches(
            split,
            batch_size=self.eval_batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self.threads,
            anywhere=anywhere,
        )
        return evaluate(
            self._eval_step(network, count=count),
            network,
            batches,
            mesh=self.mesh,
            task=self.task,
            prunable=self.prunable,
            kernels=self.kernels_of(network),
            check=check,
        )

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, or what it returned when this key was last asked for."""
        if key not in self.compiled:
            self.compiled[key] = make()
        return self.compiled[key]

    def _eval_step(self, network: Network, *, count: bool) -> EvalStep:
        return self.once(
            ("evaluate", network.model, count, self.union_tile),
            lambda: make_eval_step(
                network.model,
                preprocess=self.preprocess,
                task=self.task,
                count=count,
                union_tile=self.union_tile if count else 0,
                out_sharding=self.sharding,
            ),
        )
