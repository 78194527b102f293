"""Options of the optimizer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.options.annotations import (
    AT_LEAST_1,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    at_most,
)
from experiments.options.east import with_trained_sparsity

if TYPE_CHECKING:
    import optax

    from dst_jax.channels import Groups
    from dst_jax.kernels import Kernel
    from dst_jax.train.optimizer import Optimizer
    from dst_jax.typing import Mask, Params
    from experiments.options.methods import SparseMethod

__all__ = ["OptimOptions"]


@dataclass(frozen=True)
class OptimOptions:
    """The optimizer of all stages; each stage has its own learning rate."""

    rule: Literal["sgd", "adamw"] = "sgd"
    """Update rule."""
    momentum: Annotated[float, SHARE] = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov momentum for SGD."""
    weight_decay: Annotated[float, NOT_NEGATIVE] = 1e-4
    """Weight decay, of kernels only."""
    decay: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate over a stage."""
    milestones: Annotated[
        tuple[float, ...], Range("in (0, 1)", lambda x: 0 < x < 1)
    ] = (0.5, 0.75)
    """Shares of a stage at which `step` decay multiplies by `factor`."""
    factor: Annotated[float, POSITIVE] = 0.1
    """Factor of `step` decay."""
    warmup_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 0.0
    """Linear warm-up at the start of pre-training, or of a method of sparse training
    where pre-training has 0 epochs."""
    clip: Annotated[float | None, POSITIVE] = None
    """Largest global gradient norm."""
    accumulate: Annotated[int, AT_LEAST_1, at_most(1_000_000)] = 1
    """Batches averaged into one update, at most as many as a stage has steps."""
    label_smoothing: Annotated[float, SHARE] = 0.0
    """Label smoothing of the cross-entropy."""

    def optimizer(
        self,
        *,
        lr: float,
        warmup_epochs: float = 0.0,
        method: "SparseMethod | None" = None,
    ) -> "Optimizer":
        """A stage's optimizer, once its steps and its mask are known.

        Args:
          lr: peak learning rate.
          warmup_epochs: epochs of linear warm-up.
          method: method of sparse training around it.

        >>> build = OptimOptions().optimizer(lr=0.1)
        >>> tx = build(steps=10, steps_per_epoch=5, mask=None, seed=0)
        """
        return partial(self._build, lr=lr, warmup_epochs=warmup_epochs, method=method)

    def _build(
        self,
        *,
        lr: float,
        warmup_epochs: float,
        method: "SparseMethod | None",
        steps: int,
        steps_per_epoch: int,
        mask: "Mask",
        seed: int,
        kernels: "Mapping[str, Kernel] | None" = None,
        weights: "Params" = None,
        trained: "Params" = None,
        groups: "Callable[[], Groups] | None" = None,
    ) -> "optax.GradientTransformation":
        from dst_jax import train

        if self.accumulate > steps > 0:
            raise ValueError(
                f"--optim.accumulate must be at most the {steps} steps of the stage,"
                f" got {self.accumulate}: it would never update"
            )
        updates = max(steps // self.accumulate, 1)
        per_epoch = steps_per_epoch / self.accumulate
        warmup = min(round(warmup_epochs * per_epoch), updates)
        schedule = self._schedule(lr, updates=updates, warmup=warmup)
        sparsify = None
        if method is not None:
            method = with_trained_sparsity(
                method, weights=weights, trained=trained, kernels=kernels
            )
            sparsify = method.around(
                updates=updates,
                per_epoch=per_epoch,
                seed=seed,
                schedule=schedule,
                kernels=kernels,
                groups=groups,
            )
        return train.chain(
            schedule,
            mask=mask,
            rule=self.rule,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            clip=self.clip,
            accumulate=self.accumulate,
            sparsify=sparsify,
            kernels=kernels,
        )

    def _schedule(self, lr: float, *, updates: int, warmup: int) -> "optax.Schedule":
        from dst_jax import train

        return train.learning_rate(
            lr,
            steps=updates,
            decay=self.decay,
            warmup=warmup,
            milestones=self.milestones,
            factor=self.factor,
        )
