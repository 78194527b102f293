"""Options of stage two."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.options.annotations import MOST_EPOCHS, NOT_NEGATIVE, POSITIVE, SHARE
from experiments.options.method_gradients import dense_gradients
from experiments.options.methods import Span, SparseMethod, parse
from experiments.options.penalty import check_shape, shape
from experiments.options.saved_inputs import saving
from experiments.options.stage_names import makes_stage
from experiments.options.texts import about, file_name, rules

if TYPE_CHECKING:
    from dst_jax.train import Stage, Term
    from dst_jax.typing import Mask, Params
    from experiments.options.config import Config

__all__ = ["PruneOptions"]


@dataclass(frozen=True)
class PruneOptions:
    """Stage two: a penalty on weights, pruning, fine-tuning; or a method of sparse
    training in place of the three."""

    method: str | None = None
    """A name of pruning.names(), or MODULE:ATTRIBUTE, in place of stage two: one stage,
    as long as induction and fine-tuning; None is the paper's."""
    method_options: tuple[str, ...] = ()
    """Its options: NAME=VALUE. What counts optimizer steps is a number of them, a share
    of the stage (end=75%) or epochs (interval=0.5ep)."""
    method_start: Literal["method", "magnitude"] = "method"
    """Its first mask: its own choice, or the largest of the weights it starts with."""
    saved_sparsity: Annotated[float | None, SHARE] = None
    """Share of the inputs of every prunable layer that the gradients of its weights
    leave out, the smallest of every example; in [0, 1). With --prune.method ste and
    --prune.method-options distribution=uniform it is SWAT."""
    penalty: str = "l1"
    """Penalty on the prunable weights while inducing: a name of penalties.names(), or
    MODULE:ATTRIBUTE."""
    strength: Annotated[float, NOT_NEGATIVE] = 1e-5
    """Its strength lambda."""
    a: Annotated[float | None, POSITIVE] = None
    """Shape parameter of transformed_l1; 1 if not given."""
    options: tuple[str, ...] = ()
    """The penalty's shape parameters: NAME=NUMBER; its defaults if not given."""
    induce_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 20
    """Length of the induction; 0 prunes at once."""
    sparsity: Annotated[float | None, SHARE] = 0.6
    """Share of the prunable weights to remove, in [0, 1); or give a threshold."""
    threshold: Annotated[float | None, NOT_NEGATIVE] = None
    """Remove |w| below this, instead of a target sparsity."""
    scope: Literal["global", "layer", "erk"] = "global"
    """How a target sparsity is shared out between layers."""
    layer_floor: Annotated[float, SHARE] = 0.0
    """Smallest share of its weights that every layer keeps, in [0, 1 - sparsity]."""
    rules: tuple[str, ...] = ()
    """Which leaves are prunable: REGEX=true or REGEX=false, first match wins."""
    finetune_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 20
    """Length of the fine-tuning with the mask held."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate of both parts."""

    def check(self, config: "Config") -> None:
        """Refuses options that contradict each other.

        >>> from experiments.options import Config
        >>> PruneOptions(threshold=0.1).check(Config())
        Traceback (most recent call last):
        ValueError: --prune.sparsity and --prune.threshold: give one and set the ...
        """
        weights = {"sparsify_weights", "sparsify_jointly"}
        if self.method is not None and not weights & set(config.run.stages):
            raise ValueError(
                f"--prune.method is for the stages {sorted(weights)}, got"
                f" {self.method!r} and the stages {config.run.stages}"
            )
        neither = self.sparsity is None and self.threshold is None
        needed = self.method is None or self.method_start == "magnitude"
        both = self.sparsity is not None and self.threshold is not None
        if both or (neither and needed):
            raise ValueError(
                "--prune.sparsity and --prune.threshold: give one and set the other to"
                f" None, got {self.sparsity} and {self.threshold}"
            )
        if self.layer_floor and not (needed and self.sparsity is not None):
            raise ValueError(
                "--prune.layer_floor is for a mask of --prune.sparsity by magnitude,"
                f" got {self.layer_floor} and method={self.method},"
                f" method_start={self.method_start}, sparsity={self.sparsity}"
            )
        if self.sparsity is not None and self.layer_floor > 1 - self.sparsity:
            raise ValueError(
                "--prune.layer_floor must be at most 1 - --prune.sparsity, got"
                f" {self.layer_floor} and {self.sparsity}"
            )
        if self.method is None:
            for name in ("method_options", "method_start", "saved_sparsity"):
                value = getattr(self, name)
                if value != getattr(PruneOptions, name):
                    raise ValueError(
                        f"--prune.{name} is for --prune.method, which is not given, got"
                        f" {value}"
                    )
        check_shape("prune", self.penalty, self.a)

    def prunable(self) -> tuple[tuple[str, bool], ...]:
        """The rules of which leaves are prunable.

        >>> PruneOptions(rules=("^fc=false",)).prunable()
        (('^fc', False),)
        """
        with about("--prune.rules"):
            return rules(self.rules)

    def term(self) -> "Term":
        """The term of the objective over the prunable weights.

        >>> PruneOptions(strength=0.5).term().strength
        0.5
        """
        from dst_jax import penalties
        from dst_jax.train import Term

        options = shape("prune", self.penalty, self.options, self.a)
        return Term(penalties.get(self.penalty), self.strength, options=options)

    def choose(self) -> "Callable[[Params], Mask]":
        """How the mask follows from the weights after induction.

        >>> import jax.numpy as jnp
        >>> mask = PruneOptions(sparsity=0.5).choose()({"kernel": jnp.eye(2)})
        >>> mask["kernel"].tolist()
        [[True, False], [False, True]]
        """
        from dst_jax.pruning import masks

        if self.sparsity is None:
            return partial(masks.threshold, t=self.threshold, rules=self.prunable())
        return partial(
            masks.magnitude,
            sparsity=self.sparsity,
            scope=self.scope,
            rules=self.prunable(),
            layer_floor=self.layer_floor,
        )

    def sparse_method(self) -> SparseMethod:
        """The method in place of the stage, with what other options say for it.

        Raises:
          ValueError: an unknown method or option, or a value out of range.

        >>> PruneOptions(method="rigl").sparse_method().options["sparsity"]
        0.6
        """
        from dst_jax import penalties

        given: dict[str, Any] = {}
        for name in ("sparsity", "threshold"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        if self.method == "threshold":
            options = shape("prune", self.penalty, self.options, self.a)
            given["induce"] = Span(self.induce_epochs, "epochs")
            given["strength"] = self.strength
            given["penalty"] = penalties.get(self.penalty, **options)
        prunable = self.prunable()
        with about("--prune.method"):
            return parse(
                str(self.method), self.method_options, given=given, rules=prunable
            )

    @makes_stage("sparsify_weights")
    def stages(
        self, config: "Config", *, start: str | None, activation: "Term | None" = None
    ) -> "list[Stage]":
        """The stage: induction and fine-tuning, or one phase of a method.

        Args:
          config: all options.
          start: the name of the stage to start from.
          activation: a term over activation maps, which makes it joint training.

        >>> from experiments.options import Config
        >>> found = PruneOptions().stages(Config(), start="pretrain")
        >>> [stage.phase for stage in found]
        ['induce', 'finetune']
        """
        from dst_jax.train import stages

        common: dict[str, Any] = {
            "start": start,
            "activation": activation,
            "flops_aware": activation is not None and config.activation.flops_aware,
        }
        if self.method is None:
            return stages.sparsify_weights(
                prune=self.choose(),
                induce_epochs=self.induce_epochs,
                finetune_epochs=self.finetune_epochs,
                optimizer=config.optim.optimizer(lr=self.lr),
                penalty=self.term(),
                prunable=self.prunable(),
                **common,
            )
        method = self.sparse_method()
        if self.method_start == "magnitude":
            common["mask"] = self.choose()
        stage = stages.sparse_training(
            method=file_name(method.name),
            epochs=self.induce_epochs + self.finetune_epochs,
            optimizer=config.optim.optimizer(
                lr=self.lr, warmup_epochs=_warmup_epochs(config), method=method
            ),
            groups=method.groups,
            dense_gradients=dense_gradients(method, accumulate=config.optim.accumulate),
            within=saving(self.saved_sparsity, self.prunable()),
            **common,
        )
        return [config.east.around(stage)]


def _warmup_epochs(config: "Config") -> float:
    """The warm-up of a method's stage: that of pre-training if there is none."""
    from_scratch = "pretrain" in config.run.stages and config.pretrain.epochs == 0
    return config.optim.warmup_epochs if from_scratch else 0.0
