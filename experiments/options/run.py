"""Options of the run: its directory, its stages, what is logged and when."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.options.annotations import (
    AT_LEAST_1,
    FREE,
    NOT_NEGATIVE,
    SEED,
    at_most,
)
from experiments.options.stage_names import is_from_outside, makers
from experiments.options.texts import about, suggestion

if TYPE_CHECKING:
    from dst_jax.runs import Run
    from dst_jax.train import Events
    from experiments.options.config import Config

__all__ = ["RunOptions"]


def _stage_names() -> Any:
    """The type of `stages`: names that the groups of `Config` make, or from outside."""
    from experiments.options.config import Config  # which has these options

    names = tuple(makers(Config))

    def read(texts: Sequence[str]) -> tuple[str, ...]:
        for text in texts:
            if text not in names and not is_from_outside(text):
                raise ValueError(
                    f"must be of {names} or MODULE:ATTRIBUTE, got"
                    f" {text!r}{suggestion(text, names)}"
                )
        return tuple(texts)

    spec = tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{{{','.join(names)},MODULE:ATTRIBUTE}} ...]",
        instance_from_str=read,
        is_instance=lambda x: isinstance(x, tuple),
        str_from_instance=list,
    )
    return Annotated[tuple[str, ...], spec]


def _default(label: str) -> str:
    """The default as one writes it, from the text of a list."""
    return f"(default: {' '.join(ast.literal_eval(label))})"


_StageNames = Annotated[
    tuple[str, ...],
    tyro.conf.arg(constructor_factory=_stage_names, help_behavior_hint=_default),
]


@dataclass(frozen=True)
class RunOptions:
    """Where the run is written and what it does."""

    dir: Annotated[str | None, FREE] = None
    """Run directory; the same command again resumes. Default: runs/NAME-PRESET."""
    seed: Annotated[int, SEED] = 0
    """Seed of initialisation, data order and augmentation."""
    stages: _StageNames = ("pretrain", "sparsify_weights", "sparsify_activations")
    """Which stages, in which order; sparsify_jointly is both of the others in one."""
    control: bool = False
    """Also train the dense control: the baseline for as many epochs, no penalties."""
    log_every: Annotated[int, AT_LEAST_1, FREE] = 50
    """Steps between lines of metrics."""
    eval_every: Annotated[int, AT_LEAST_1] = 1
    """Epochs between evaluations on the hold-out."""
    save_every: Annotated[int, NOT_NEGATIVE, FREE] = 0
    """Steps between checkpoints within an epoch; 0 saves at epochs' ends only."""
    ledger_every: Annotated[int, NOT_NEGATIVE, FREE] = 0
    """Steps between those whose multiplications are counted, forward and backward, for
    the run's ledger of training; 0 keeps none."""
    storage_bits: Annotated[int | None, AT_LEAST_1, at_most(4096)] = None
    """Bits of a value, to find the smallest storage format of every tensor at the end
    of every stage; None looks for none."""
    union_tile: Annotated[int, NOT_NEGATIVE, FREE] = 2
    """Side of the tiles, in pixels or tokens, whose shared zeros a report lists."""
    accelerators: tuple[str, ...] = ()
    """Modelled accelerators to estimate every stage on: see dst_jax.cost;
    MODULE:ATTRIBUTE; or YAML files (docs/hardware_files.md)."""
    wandb: Annotated[str | None, FREE] = None
    """Project of Weights & Biases to log scalars to as well; needs the extra `wandb`.
    WANDB_MODE=offline in the environment sends nothing."""
    compilation_cache: Annotated[str | None, FREE] = None
    """Directory of XLA's persistent compilation cache."""
    multihost: Annotated[bool, FREE] = False
    """Train with several processes; start the same command in each of them. SLURM, MPI
    and TPU pods say what the next three options are."""
    coordinator: Annotated[str | None, FREE] = None
    """Address of process 0, HOST:PORT, if no cluster says it."""
    processes: Annotated[int | None, AT_LEAST_1, FREE] = None
    """Number of processes, if no cluster says it."""
    process_id: Annotated[int | None, NOT_NEGATIVE, FREE] = None
    """Number of this process, from 0, if no cluster says it."""
    coordinator_timeout: Annotated[int, AT_LEAST_1, FREE] = 300
    """Seconds to wait for the other processes at the start."""

    def check(self, config: "Config") -> None:
        """Refuses stages that do not go together.

        >>> from experiments.options import Config
        >>> RunOptions(stages=("sparsify_weights", "pretrain")).check(Config())
        Traceback (most recent call last):
        ValueError: --run.stages: pretrain comes first, got ('sparsify_weights', ...
        """
        del config
        self._check_processes()
        stages = self.stages
        if len(set(stages)) != len(stages):
            raise ValueError(f"--run.stages must name stages once each, got {stages}")
        if "pretrain" in stages[1:]:
            raise ValueError(f"--run.stages: pretrain comes first, got {stages}")
        replaced = {"sparsify_weights", "sparsify_activations"} & set(stages)
        if "sparsify_jointly" in stages and replaced:
            raise ValueError(
                "--run.stages: sparsify_jointly takes the place of the other two, got"
                f" {stages}"
            )

    def _check_processes(self) -> None:
        given = {
            "--run.coordinator": self.coordinator,
            "--run.processes": self.processes,
            "--run.process-id": self.process_id,
        }
        named = [name for name, value in given.items() if value is not None]
        if named and not self.multihost:
            raise ValueError(f"{named[0]} needs --run.multihost")
        host, _, port = (self.coordinator or "host:1").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise ValueError(
                f"--run.coordinator must be HOST:PORT, got {self.coordinator!r}"
            )
        if self.processes is not None and (self.process_id or 0) >= self.processes:
            raise ValueError(
                f"--run.process-id must be below --run.processes {self.processes}, got"
                f" {self.process_id}"
            )

    def rehearse(self, config: "Config") -> None:
        """Checks the names of accelerators, and that what is asked for is installed.

        >>> from experiments.options import Config
        >>> RunOptions(accelerators=("tpu9",)).rehearse(Config())
        Traceback (most recent call last):
        ValueError: --run.accelerators: accelerator must be one of ('dense', ...
        """
        from dst_jax.cost import accelerators

        del config
        with about("--run.accelerators"):
            for name in accelerators.labels(self.accelerators).values():
                accelerators.create(name)
        if self.wandb is not None:
            from dst_jax.train import WeightsAndBiases

            with about("--run.wandb"):
                WeightsAndBiases.package()

    def set_up_jax(self) -> None:
        """Joins the other hosts' processes and switches the compilation cache on.

        >>> RunOptions().set_up_jax()
        """
        import jax

        from experiments.running import processes

        if self.multihost:
            processes.join(
                coordinator=self.coordinator,
                processes=self.processes,
                process_id=self.process_id,
                timeout=self.coordinator_timeout,
            )
        if self.compilation_cache is not None:
            cache = str(Path(self.compilation_cache).absolute())
            jax.config.update("jax_compilation_cache_dir", cache)

    def events(self, run: "Run", config: Mapping[str, Any]) -> "tuple[Events, ...]":
        """The logs of scalars that are asked for, next to TensorBoard's.

        Args:
          run: the run directory.
          config: options, shown next to the log.

        >>> from dst_jax import runs
        >>> RunOptions().events(runs.Run("a"), {})
        ()
        """
        if self.wandb is None or not run.writer:
            return ()
        from dst_jax.train import WeightsAndBiases

        log = WeightsAndBiases(str(run.path), project=self.wandb, config=config)
        return (log,)

    def cadence(self) -> dict[str, Any]:
        """The seed and what happens how often, as `train.Context` takes them.

        >>> RunOptions(seed=3).cadence()["seed"]
        3
        """
        names = (
            *("seed", "log_every", "eval_every", "save_every", "ledger_every"),
            "union_tile",
        )
        return {name: getattr(self, name) for name in names}
