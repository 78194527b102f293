"""Methods of sparse training from options: `rigl`, `end=75%`, `interval=0.5ep`.

Whatever counts optimizer steps is written as a number of them, as a share of the stage
(`75%`) or in epochs (`2ep`), and is known once the data are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import optax

from dst_jax import penalties, pruning
from dst_jax.kernels import Kernel
from dst_jax.pruning import structures
from dst_jax.train.optimizer import Sparsify
from dst_jax.typing import Rules

__all__ = ["Span", "SparseMethod", "parse"]

_LENGTHS = {
    "one_shot": {"at": "50%"},
    "gradual_magnitude": {"end": "75%", "interval": "2%"},
    "gradual_movement": {"end": "75%", "interval": "2%"},
    "set": {"end": "75%", "interval": "2%"},
    "rigl": {"end": "75%", "interval": "2%"},
    "rigl_itop": {"end": "100%", "interval": "4%"},
    "mest": {"end": "75%", "interval": "2%"},
    "granet": {"prune_end": "50%", "end": "100%", "interval": "2%"},
    "gap": {"interval": "20%"},
    "srigl": {"end": "75%", "interval": "2%"},
    "threshold": {"induce": "50%"},
    "ac_dc": {"warmup": "5%", "interval": "10%", "end": "85%"},
    "auto_sparse": {"end": "90%"},
    "constrained_l0": {"end": "100%"},
    "halo": {"at": "50%"},
}
"""For stages of any length, where papers give steps for theirs; ours, not tuned."""
_OTHERS = {
    "sr_ste": {"structure": "2:4"},
    "threshold": {"penalty": "l1"},
}
_ENDS = ("start", "end", "prune_end", "at", "release", "induce", "warmup")
_OURS = ("inner", "mask", "rules", "seed", "step_size", "kernels")
_ANY_LENGTH: dict[str, Any] = {"updates": 10**9, "per_epoch": 10**6}
"""Of no stage: so long that no number of steps is beyond its end."""
_STRUCTURES: dict[str, Callable[[], structures.Structure]] = {
    "unstructured": structures.unstructured,
    "channel_in": partial(structures.channel, "in"),
    "channel_out": partial(structures.channel, "out"),
    "constant_fan_in": structures.constant_fan_in,
}


@dataclass(frozen=True)
class Span:
    """A length of training that follows from the stage's.

    Attributes:
      value: shares of the stage, or epochs.
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
      name: of `pruning.names()`.
      options: values as the library takes them, and `Span`s.
      rules: which leaves are prunable.
    """

    name: str
    options: Mapping[str, Any]
    rules: Rules = ()

    @property
    def dense_weights(self) -> bool:
        """Whether the parameters stay dense, as in `train.Stage`."""
        options = self._resolved(**_ANY_LENGTH)
        if "prox" in options:
            options["step_size"] = 0
        return not pruning.holds(self.name, **options)

    def around(
        self,
        *,
        updates: int,
        per_epoch: float,
        seed: int,
        schedule: optax.Schedule,
        kernels: Mapping[str, Kernel] | None = None,
    ) -> Sparsify:
        """The method around an optimizer.

        Args:
          updates: optimizer steps of the stage.
          per_epoch: of an epoch.
          seed: of random choices.
          schedule: the learning rate, for proximal steps.
          kernels: kernels of the network; by name if None.

        Raises:
          ValueError: an option is unknown, missing, out of range or beyond the stage.
        """
        options = self._resolved(updates=updates, per_epoch=per_epoch)
        for name in _ENDS:
            if isinstance(options.get(name), int) and options[name] > updates:
                raise ValueError(
                    f"{self.name}: {name} must be at most the {updates} optimizer steps"
                    f" of the stage, got {options[name]}"
                )
        if "prox" in options:
            options["step_size"] = schedule

        def sparsify(
            inner: optax.GradientTransformation, mask: Any
        ) -> optax.GradientTransformation:
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

    def option(self, option: str, *, updates: int, per_epoch: float) -> Any:
        """An option, lengths in optimizer steps; the library's default if not given."""
        options = self._resolved(updates=updates, per_epoch=per_epoch)
        known = pruning.options(self.name)
        default = known[option].default if option in known else None
        return options.get(option, default)

    def _resolved(self, **lengths: Any) -> dict[str, Any]:
        return {
            name: value.steps(**lengths) if isinstance(value, Span) else value
            for name, value in self.options.items()
        }


def parse(
    name: str,
    texts: Sequence[str] = (),
    *,
    given: Mapping[str, Any] | None = None,
    target: float | None = None,
    rules: Rules = (),
) -> SparseMethod:
    """A method by name with options `NAME=VALUE`.

    Values are numbers, `true`, `false`, `none`, `75%`, `2ep`, names; for `structure`
    `2:4`, `4x1` (a block), `channel_in`, `channel_out`, `constant_fan_in`; for
    `penalty` and `prox` a penalty's name; for `output` regexes between commas.

    Args:
      name: of `pruning.names()`.
      texts: the options; others have defaults.
      given: further options as the library takes them; `texts` win.
      target: the sparsity, for methods that take one; N:M has its own.
      rules: which leaves are prunable.

    Raises:
      ValueError: an unknown name or option, or a value of another form.

    >>> parse("set", ["interval=2ep"], target=0.9).options["interval"]
    Span(value=2.0, unit='epochs')
    """
    known = pruning.options(name)
    options: dict[str, Any] = dict(given or {})
    for text in texts:
        option, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} must be NAME=VALUE")
        options[option] = _value(option, value)
    for option in options:
        default = getattr(known.get(option), "default", None)
        fixed = isinstance(default, optax.GradientTransformation)
        if option not in known or option in _OURS or fixed:
            allowed = [k for k in known if k not in _OURS]
            raise ValueError(f"{name} has no option {option!r}; it takes {allowed}")
    if "prox" in options and not any(text.startswith("penalty=") for text in texts):
        options["penalty"] = None
    for option, text in {**_LENGTHS.get(name, {}), **_OTHERS.get(name, {})}.items():
        options.setdefault(option, _value(option, text))
    density = getattr(options.get("structure"), "density", None)
    if density is not None:
        target = 1 - density
    if target is not None and "sparsity" in known and "threshold" not in options:
        options.setdefault("sparsity", target)
    options.setdefault("track", True)
    method = SparseMethod(name, options, rules)
    constant = optax.constant_schedule(0)
    method.around(**_ANY_LENGTH, seed=0, schedule=constant)(optax.identity(), None)
    return method


def _value(option: str, text: str) -> Any:
    if option == "structure":
        return _structure(text)
    if option == "penalty":
        return penalties.get(text)
    if option == "prox":
        return penalties.get_prox(text)
    if option == "output":
        return tuple(filter(None, text.split(",")))
    words = {"true": True, "false": False, "none": None}
    if text in words:
        return words[text]
    for suffix in ("%", "ep"):
        number = _number(text.removesuffix(suffix))
        if text.endswith(suffix) and number is not None:
            if not 0 <= number < math.inf:
                raise ValueError(f"{option} must be >= 0 and finite, got {text}")
            if suffix == "%":
                return Span(number / 100, "share")
            return Span(float(number), "epochs")
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _structure(text: str) -> structures.Structure:
    if text in _STRUCTURES:
        return _STRUCTURES[text]()
    for separator in (":", "x"):
        numbers = [_number(part) for part in text.split(separator)]
        if len(numbers) == 2 and all(isinstance(n, int) for n in numbers):
            if separator == ":":
                return structures.n_m(*numbers)  # pyright: ignore[reportArgumentType]
            return structures.block(tuple(numbers))  # pyright: ignore[reportArgumentType]
    raise ValueError(
        f"structure must be one of {tuple(_STRUCTURES)}, N:M or a block such as 4x1,"
        f" got {text!r}"
    )
