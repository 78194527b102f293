"""Options of stage three."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.options.annotations import MOST_EPOCHS, NOT_NEGATIVE, POSITIVE, SHARE
from experiments.options.penalty import check_shape, shape
from experiments.options.stage_names import makes_stage
from experiments.options.texts import about, number, pairs, regex

if TYPE_CHECKING:
    from dst_jax.train import Stage, Target, Term
    from dst_jax.train.stages import Patterning
    from experiments.options.config import Config

__all__ = ["ActivationOptions"]


@dataclass(frozen=True)
class ActivationOptions:
    """Stage three: a penalty on activation maps, the mask held."""

    penalty: str = "transformed_l1"
    """Penalty on every post-ReLU map: a name of penalties.names(), or
    MODULE:ATTRIBUTE."""
    strength: Annotated[float, NOT_NEGATIVE] = 1e-7
    """Its strength (alpha in the paper): sum over elements, mean over the batch."""
    a: Annotated[float | None, POSITIVE] = None
    """Shape parameter of transformed_l1 (beta in the paper); 1 if not given."""
    options: tuple[str, ...] = ()
    """The penalty's shape parameters: NAME=NUMBER; its defaults if not given."""
    layers: tuple[str, ...] = ()
    """Weights of single maps: REGEX=NUMBER, first match wins; others have 1."""
    flops_aware: bool = False
    """Charge every activation the multiplications that it takes part in."""
    target: Annotated[float | None, SHARE] = None
    """Sparsity to reach: the strength adapts itself to it, from `strength` on. With
    flops_aware: share of the multiplications by penalised activations to save."""
    max_loss: Annotated[float, POSITIVE] = 0.1
    """With a target: the cross-entropy of training batches may rise to this."""
    gain: Annotated[float, POSITIVE] = 0.05
    """With a target: how fast the strength follows, per step."""
    warmup_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 0.0
    """Epochs over which the strength rises from 0."""
    ramp: Literal["linear", "sine"] = "linear"
    """How it rises: evenly, or along half a sine as in ProSparse."""
    threshold: Annotated[float | None, NOT_NEGATIVE] = None
    """Entries of every map below it become 0, in training and after it: FATReLU."""
    threshold_kind: Literal["hard", "soft"] = "hard"
    """Entries above it stay as they are, or shrink by it: the proximal activation."""
    threshold_epochs: Annotated[float | None, NOT_NEGATIVE, MOST_EPOCHS] = None
    """The threshold acts from the end of `epochs` on, for as many epochs more, as in
    ProSparse; if not given it acts from the beginning."""
    patterns: tuple[str, ...] = ()
    """Of every M neighbouring channels N stay, from the beginning: N:M for all maps, or
    REGEX=N:M for single ones, of which the first match wins. M divides the channels."""
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 20
    """Length."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate."""

    def check(self, config: "Config") -> None:
        """Refuses options that contradict each other.

        >>> from experiments.options import Config
        >>> ActivationOptions(threshold_epochs=2).check(Config())
        Traceback (most recent call last):
        ValueError: --activation.threshold_epochs needs --activation.threshold, got ...
        """
        check_shape("activation", self.penalty, self.a)
        if self.flops_aware and self.layers:
            raise ValueError(
                "--activation.flops_aware weighs the maps itself: leave out"
                f" --activation.layers, got {self.layers}"
            )
        if self.threshold is None and self.threshold_epochs is not None:
            raise ValueError(
                "--activation.threshold_epochs needs --activation.threshold, got"
                f" {self.threshold_epochs} and None"
            )
        stages = config.run.stages
        if self.threshold is not None and "sparsify_activations" not in stages:
            raise ValueError(
                "--activation.threshold is for the stage sparsify_activations, got"
                f" {self.threshold} and the stages {stages}"
            )
        if self.patterns and "sparsify_activations" not in stages:
            raise ValueError(
                "--activation.patterns is for the stage sparsify_activations, got"
                f" {self.patterns} and the stages {stages}"
            )
        if self.target is not None and not self.strength > 0:
            raise ValueError(
                "--activation.target adapts the strength by factors:"
                f" --activation.strength must be > 0, got {self.strength}"
            )
        if self.target is not None and "sparsify_jointly" in stages:
            raise ValueError(
                "--activation.target is for the stage sparsify_activations, got"
                " sparsify_jointly"
            )

    def term(self) -> "Term":
        """The term of the objective over activation maps.

        >>> ActivationOptions(strength=0.5).term().strength
        0.5
        """
        from dst_jax import penalties
        from dst_jax.train import Term

        options = shape("activation", self.penalty, self.options, self.a)
        with about("--activation.layers"):
            weighed = [
                (regex(k), _weight(k, x)) for k, x in pairs(self.layers, last=True)
            ]
        return Term(
            penalty=penalties.get(self.penalty),
            strength=self.strength,
            options=options,
            warmup=self.warmup_epochs,
            ramp=self.ramp,
            layers=tuple(pattern for pattern, _ in weighed),
            layer_weights=tuple(weight for _, weight in weighed),
        )

    def adaptive_target(self) -> "Target | None":
        """The sparsity that the strength adapts itself to, if there is one.

        >>> ActivationOptions(target=0.8).adaptive_target().sparsity
        0.8
        """
        from dst_jax.train import Target

        if self.target is None:
            return None
        return Target(self.target, self.max_loss, self.gain)

    def patterning(self) -> "Patterning | None":
        """The patterns of maps, if there are any.

        Raises:
          ValueError: a text is not N:M or REGEX=N:M.

        >>> ActivationOptions(patterns=("layer1=2:4", "4:8")).patterning().rules
        (('layer1', '2:4'), ('', '4:8'))
        """
        from dst_jax import activations
        from dst_jax.train.stages import Patterning

        if not self.patterns:
            return None
        with about("--activation.patterns"):
            texts = [text if "=" in text else f"={text}" for text in self.patterns]
            rules = tuple((regex(k), x) for k, x in pairs(texts, last=True))
            for _, text in rules:
                activations.with_patterns({}, {"map": text})  # which checks it
        return Patterning(rules)

    @makes_stage("sparsify_activations")
    def stages(self, config: "Config", *, start: str | None) -> "list[Stage]":
        """The stage, in one phase or two.

        Args:
          config: all options.
          start: the name of the stage to start from.

        >>> from experiments.options import Config
        >>> [stage.epochs for stage in ActivationOptions().stages(Config(), start="a")]
        [20]
        """
        from dst_jax.train import stages

        thresholding = None
        if self.threshold is not None:
            thresholding = stages.Thresholding(self.threshold, self.threshold_kind)
        return stages.sparsify_activations(
            epochs=self.epochs,
            optimizer=config.optim.optimizer(lr=self.lr),
            penalty=self.term(),
            start=start,
            target=self.adaptive_target(),
            flops_aware=self.flops_aware,
            thresholding=thresholding,
            threshold_epochs=self.threshold_epochs,
            patterning=self.patterning(),
        )

    @makes_stage("sparsify_jointly")
    def joint_stages(self, config: "Config", *, start: str | None) -> "list[Stage]":
        """Stages two and three in one: those of `PruneOptions`, with this penalty.

        Args:
          config: all options.
          start: the name of the stage to start from.

        >>> from experiments.options import Config
        >>> found = ActivationOptions().joint_stages(Config(), start="pretrain")
        >>> [stage.path for stage in found]
        ['sparsify_jointly.induce', 'sparsify_jointly.finetune']
        """
        return config.prune.stages(config, start=start, activation=self.term())


def _weight(pattern: str, text: str) -> float:
    weight = number(text)
    if weight < 0:
        raise ValueError(f"the weight of {pattern!r} must be >= 0, got {text}")
    return weight
