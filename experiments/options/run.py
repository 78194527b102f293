"""Options of the run: its directory, its stages, what is logged and when."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.options.annotations import AT_LEAST_1, FREE, NOT_NEGATIVE
from experiments.options.stage_names import is_from_outside, makers
from experiments.options.texts import about

if TYPE_CHECKING:
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
                    f"must be of {names} or MODULE:ATTRIBUTE, got {text!r}"
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
    seed: Annotated[int, NOT_NEGATIVE] = 0
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
    accelerators: tuple[str, ...] = ()
    """Modelled accelerators to estimate every stage on: see dst_jax.cost; or
    MODULE:ATTRIBUTE."""
    compilation_cache: Annotated[str | None, FREE] = None
    """Directory of XLA's persistent compilation cache."""
    multihost: bool = False
    """Call jax.distributed.initialize() first; start the same command on every host."""

    def check(self, config: "Config") -> None:
        """Refuses stages that do not go together.

        >>> from experiments.options import Config
        >>> RunOptions(stages=("sparsify_weights", "pretrain")).check(Config())
        Traceback (most recent call last):
        ValueError: --run.stages: pretrain comes first, got ('sparsify_weights', ...
        """
        del config
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

    def rehearse(self, config: "Config") -> None:
        """Checks the names of accelerators.

        >>> from experiments.options import Config
        >>> RunOptions(accelerators=("tpu9",)).rehearse(Config())
        Traceback (most recent call last):
        ValueError: --run.accelerators: accelerator must be one of ('dense', ...
        """
        from dst_jax.cost import accelerators

        del config
        with about("--run.accelerators"):
            for name in self.accelerators:
                accelerators.create(name)

    def set_up_jax(self) -> None:
        """Joins the other hosts' processes and switches the compilation cache on.

        >>> RunOptions().set_up_jax()
        """
        import jax

        if self.multihost:
            jax.distributed.initialize()
        if self.compilation_cache is not None:
            cache = str(Path(self.compilation_cache).absolute())
            jax.config.update("jax_compilation_cache_dir", cache)

    def cadence(self) -> dict[str, Any]:
        """The seed and what happens how often, as `train.Context` takes them.

        >>> RunOptions(seed=3).cadence()["seed"]
        3
        """
        names = ("seed", "log_every", "eval_every", "save_every")
        return {name: getattr(self, name) for name in names}
