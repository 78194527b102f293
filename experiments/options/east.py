"""Options of EAST's parts next to a method of sparse training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated

from experiments.options.annotations import AT_LEAST_1, SHARE, at_most
from experiments.options.texts import pairs, value

if TYPE_CHECKING:
    from dst_jax.kernels import Kernel
    from dst_jax.train import Stage
    from dst_jax.typing import Params
    from experiments.options.config import Config
    from experiments.options.methods import SparseMethod

__all__ = ["EastOptions", "with_trained_sparsity"]


@dataclass(frozen=True)
class EastOptions:
    """EAST's parts around --prune.method, each a switch; the third, densities in
    cycles, is the method `east`, and `cycles=0` among its options leaves them out."""

    dyrelu: bool = False
    """Train with DyReLUs, which are phased out: the network handed on has ReLUs."""
    phase_start: Annotated[float, SHARE] = 0.25
    """Share of the stage up to which they are whole."""
    phase_end: Annotated[float, SHARE] = 0.496
    """Share of the stage from which they are ReLUs."""
    owners: Annotated[int | None, AT_LEAST_1, at_most(1000)] = None
    """Blocks of each stage of a residual network that own their convolutions, which the
    blocks after them use; the paper's is 2. All own theirs if not given."""
    fan_in: bool = False
    """Scale the first weights to the fan-in that the method's first mask leaves."""

    def check(self, config: "Config") -> None:
        """Refuses options that contradict each other.

        >>> from experiments.options import Config
        >>> EastOptions(owners=2).check(Config())
        Traceback (most recent call last):
        ValueError: --east.owners is for --prune.method, which is not given, got 2
        """
        if self.phase_start > self.phase_end:
            raise ValueError(
                "--east.phase-start must be at most --east.phase-end, got"
                f" {self.phase_start} and {self.phase_end}"
            )
        for name in ("dyrelu", "owners", "fan_in"):
            found, option = getattr(self, name), name.replace("_", "-")
            if found and config.prune.method is None:
                raise ValueError(
                    f"--east.{option} is for --prune.method, which is not given, got"
                    f" {found}"
                )
        trained = "pretrain" in config.run.stages and config.pretrain.epochs > 0
        if self.fan_in and (trained or config.init.path is not None):
            raise ValueError(
                "--east.fan-in is for weights that have not been trained: set"
                f" --pretrain.epochs 0, got {config.pretrain.epochs}, and give no"
                f" --init.from, got {config.init.path}"
            )

    def around(self, stage: "Stage") -> "Stage":
        """The stage with the parts that are switched on.

        Raises:
          ValueError: an option is out of range.

        >>> from dst_jax.train import Stage
        >>> stage = Stage(name="sparse", epochs=1, optimizer=print)
        >>> EastOptions().around(stage) is stage
        True
        >>> EastOptions(dyrelu=True).around(stage).schedules
        PhaseOut(start=0.25, end=0.496)
        """
        from dst_jax.train import stages

        phases = None
        if self.dyrelu:
            phases = stages.PhaseOut(self.phase_start, self.phase_end)
        if phases is None and self.owners is None and not self.fan_in:
            return stage
        return stages.east(stage, dyrelu=phases, owners=self.owners, fan_in=self.fan_in)

    @classmethod
    def apart(cls, texts: Sequence[str]) -> "tuple[EastOptions, list[str]]":
        """These options among those of a method, and the others.

        Args:
          texts: NAME=VALUE, of both.

        Raises:
          ValueError: a text has another form, or a value another type.

        >>> EastOptions.apart(["interval=5", "dyrelu=true"])[0].dyrelu
        True
        """
        kinds = {"dyrelu": bool, "fan_in": bool, "owners": int}
        own, others = {}, []
        for (name, text), whole in zip(pairs(texts), texts, strict=True):
            if name not in {field.name for field in fields(cls)}:
                others.append(whole)
                continue
            own[name] = value(text)
            kind = kinds.get(name, (int, float))
            if not isinstance(own[name], kind):
                raise ValueError(f"{name} must be of another type, got {text!r}")
        return cls(**own), others


def with_trained_sparsity(
    method: "SparseMethod",
    *,
    weights: "Params",
    trained: "Params",
    kernels: "Mapping[str, Kernel] | None" = None,
) -> "SparseMethod":
    """The method with the budget of the network where some of its weights are shared.

    Args:
      method: the method, with the target for the network.
      weights: the network's weights; shapes will do; None changes nothing.
      trained: what is trained.
      kernels: kernels of the network; by name if None.

    Raises:
      ValueError: less is trained than shall be active.

    >>> from experiments.options.methods import parse
    >>> rigl = parse("rigl", target=0.9)
    >>> with_trained_sparsity(rigl, weights=None, trained=None) is rigl
    True
    """
    from dst_jax.train import stages

    sparsity = method.options.get("sparsity")
    if weights is None or not isinstance(sparsity, int | float):
        return method
    found = stages.trained_sparsity(
        sparsity, weights=weights, trained=trained, rules=method.rules, kernels=kernels
    )
    return replace(method, options={**method.options, "sparsity": found})
