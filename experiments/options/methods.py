"""Methods of sparse training from texts: `rigl`, `end=75%`, `interval=0.5ep`.

Whatever counts optimizer steps is written as a number of them, as a share of the stage
(`75%`) or in epochs (`2ep`), and is known once the data are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from experiments.options.method_channels import open_groups, unit_score
from experiments.options.texts import pairs, regex, value

if TYPE_CHECKING:
    import optax

    from dst_jax.channels import Groups
    from dst_jax.kernels import Kernel
    from dst_jax.pruning import Description
    from dst_jax.train.optimizer import Sparsify
    from dst_jax.typing import Rules

__all__ = ["Span", "SparseMethod", "parse"]

_OURS = ("kernels", "mask", "rules", "seed", "step_size")
"""Options that a stage gives, and no text."""
_LONGEST = {"%": 100, "ep": 1_000_000}
_LARGEST = 2**31  # steps are int32 on a device
_SMALLEST = 1e-30  # float32 has little below
_ANY_LENGTH: dict[str, Any] = {"updates": 10**9, "per_epoch": 10**6}
"""Lengths that no number of steps is beyond the end of."""


@dataclass(frozen=True)
class Span:
    """A length of training that follows from the stage's.

    Attributes:
      value: share of the stage, or number of epochs.
      unit: which of them.
    """

    value: float
    unit: Literal["share", "epochs"]

    def steps(self, *, updates: int, per_epoch: float) -> int:
        """Whole optimizer steps; at least 1 unless the span is 0.

        >>> Span(0.75, "share").steps(updates=10, per_epoch=4)
        7
        >>> Span(0.5, "epochs").steps(updates=10, per_epoch=4)
        2
        """
        whole = updates if self.unit == "share" else per_epoch
        exact = round(self.value * whole, 6)  # 0.29 * 100 is a little below 29
        return max(math.floor(exact), 1) if self.value > 0 else 0


@dataclass(frozen=True)
class SparseMethod:
    """A method with its options, for stages of any length.

    Attributes:
      name: one of `pruning.names()`, or `module:attribute`.
      options: values as the library takes them, and `Span`s.
      rules: rules of which leaves are prunable.
    """

    name: str
    options: Mapping[str, Any]
    rules: "Rules" = ()

    @property
    def description(self) -> "Description":
        """What the method declares.

        >>> SparseMethod("rigl", {}).description.ends
        ('start', 'end')
        """
        from dst_jax import pruning

        return pruning.describe(self.name)

    def around(
        self,
        *,
        updates: int,
        per_epoch: float,
        seed: int,
        schedule: "optax.Schedule",
        kernels: "Mapping[str, Kernel] | None" = None,
        groups: "Callable[[], Groups] | None" = None,
    ) -> "Sparsify":
        """The method around an optimizer.

        Args:
          updates: optimizer steps of the stage.
          per_epoch: optimizer steps of an epoch.
          seed: seed of random choices.
          schedule: learning rate, for proximal steps.
          kernels: kernels of the network; by name if None.
          groups: returns the network's groups of channels, for a method that removes
            channels; any will do if None.

        Raises:
          ValueError: an option is unknown, missing, out of range or beyond the stage.

        >>> import optax
        >>> rigl = parse("rigl", target=0.9)
        >>> lengths = {"updates": 10, "per_epoch": 5}
        >>> sparsify = rigl.around(**lengths, seed=0, schedule=lambda step: 0.1)
        >>> tx = sparsify(optax.sgd(0.1), None)
        """
        lengths = {"updates": updates, "per_epoch": per_epoch}
        options = self.resolved(**lengths, groups=groups)
        for name in self.description.ends:
            if isinstance(options.get(name), int) and options[name] > updates:
                raise ValueError(
                    f"{self.name}: {name} must be at most the {updates} optimizer steps"
                    f" of the stage, got {options[name]}"
                )
        if "prox" in options:
            options["step_size"] = schedule

        def sparsify(
            inner: "optax.GradientTransformation", mask: Any
        ) -> "optax.GradientTransformation":
            from dst_jax import pruning

            try:
                return pruning.create(
                    self.name,
                    inner,
                    mask=mask,
                    seed=seed,
                    rules=self.rules,
                    kernels=kernels,
                    **options,
                )
            except TypeError as error:
                raise ValueError(f"{self.name}: {error}") from None

        return sparsify

    @property
    def groups(self) -> str | None:
        """Which groups of channels lose units; None if the method removes none.

        >>> parse("rigl", target=0.9).groups is None
        True
        """
        return self.options.get("groups")

    def resolved(
        self,
        *,
        updates: int,
        per_epoch: float,
        groups: "Callable[[], Groups] | None" = None,
    ) -> dict[str, Any]:
        """The options, lengths in optimizer steps.

        Args:
          updates: optimizer steps of the stage.
          per_epoch: optimizer steps of an epoch.
          groups: as in `around`.

        >>> parse("set", ["end=50%"], target=0.9).resolved(updates=9, per_epoch=3)
        {'end': 4, 'interval': 1, 'sparsity': 0.9, 'track': True}
        """
        lengths = {"updates": updates, "per_epoch": per_epoch}
        found = {
            name: value.steps(**lengths) if isinstance(value, Span) else value
            for name, value in self.options.items()
        }
        if self.groups is not None:
            found["groups"] = open_groups(self.groups, groups)
        return found


def parse(
    name: str,
    texts: Sequence[str] = (),
    *,
    given: Mapping[str, Any] | None = None,
    target: float | None = None,
    rules: "Rules" = (),
) -> SparseMethod:
    """A method by name with options `NAME=VALUE`.

    Values are numbers, `true`, `false`, `none`, `75%`, `2ep`, names; for `structure`
    `2:4`, `4x1` (a block), `channel_in`, `channel_out`, `constant_fan_in`; for
    `penalty` and `prox` a penalty's name; for `output` regexes between commas. Of a
    method that removes channels, `groups` is `inner`, `all` or a regex, and `score` a
    name of `channels.scores`.

    Args:
      name: one of `pruning.names()`, or `module:attribute`.
      texts: the options; others have defaults.
      given: further options as the library takes them; `texts` win.
      target: sparsity, for methods that take one; N:M has its own.
      rules: rules of which leaves are prunable.

    Raises:
      ValueError: an unknown name or option, or a value of another form.

    >>> parse("set", ["interval=2ep"], target=0.9).options["interval"]
    Span(value=2.0, unit='epochs')
    """
    import optax

    from dst_jax import pruning

    described = pruning.describe(name)
    texts_by_name = dict(pairs(texts))
    options: dict[str, Any] = dict(given or {})
    options |= {option: _value(option, text) for option, text in texts_by_name.items()}
    _check_known(name, described, options)
    if "groups" in described.options:
        options.setdefault("groups", "inner")
        if "score" in options:
            options["score"] = unit_score(options["score"])
    if "prox" in options and "penalty" not in texts_by_name:
        options["penalty"] = None
    for option, share in described.lengths.items():
        options.setdefault(option, Span(share, "share"))
    for option, text in described.texts.items():
        options.setdefault(option, _value(option, text))
    density = getattr(options.get("structure"), "density", None)
    if density is not None:
        target = 1 - density
    takes_target = "sparsity" in described.options and "threshold" not in options
    if target is not None and takes_target:
        options.setdefault("sparsity", target)
    options.setdefault("track", True)
    method = SparseMethod(name, options, rules)
    constant = optax.constant_schedule(0)
    method.around(**_ANY_LENGTH, seed=0, schedule=constant)(optax.identity(), None)
    return method


def _check_known(
    name: str, described: "Description", options: Mapping[str, Any]
) -> None:
    """Refuses options that the method does not take, or that no text can give."""
    import optax

    from dst_jax import checks

    allowed = [
        option
        for option, parameter in described.options.items()
        if option not in _OURS
        and not isinstance(parameter.default, optax.GradientTransformation)
    ]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"{name} has no option {option!r}; it takes"
                f" {allowed}{checks.suggestion(option, allowed)}"
            )


def _value(option: str, text: str) -> Any:
    from dst_jax import penalties
    from dst_jax.pruning import structures

    by_option = {
        "structure": structures.by_name,
        "penalty": penalties.get,
        "prox": penalties.get_prox,
        "output": lambda text: tuple(map(regex, filter(None, text.split(",")))),
    }
    if option in by_option:
        return by_option[option](text)
    for suffix, largest in _LONGEST.items():
        number = value(text.removesuffix(suffix))
        if text.endswith(suffix) and isinstance(number, int | float):
            if not 0 <= number < math.inf:
                raise ValueError(f"{option} must be >= 0 and finite, got {text}")
            if number > largest:
                raise ValueError(
                    f"{option} must be at most {largest}{suffix}, got {text}"
                )
            if suffix == "%":
                return Span(number / 100, "share")
            return Span(float(number), "epochs")
    found = value(text)
    for number in found if isinstance(found, tuple) else (found,):
        if isinstance(number, int | float) and not abs(number) < _LARGEST:
            raise ValueError(f"{option} must be a number below 2**31, got {text}")
        if isinstance(number, float) and 0 < abs(number) < _SMALLEST:
            raise ValueError(f"{option} must be 0 or at least 1e-30, got {text}")
    return found
