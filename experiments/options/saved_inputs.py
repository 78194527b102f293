"""What layers save of their inputs for the gradients of their weights."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from experiments.options.texts import number, pairs

if TYPE_CHECKING:
    from dst_jax.typing import Rules, Within

__all__ = ["saved_sparsity_apart", "saving"]

_OPTION = "saved_sparsity"


def saving(sparsity: float | None, rules: "Rules") -> "Within":
    """The context in which a network is trained that saves the largest inputs.

    Args:
      sparsity: share of the inputs that are left out; None saves all, as ever.
      rules: rules of which leaves are prunable; the layers of others save all.

    Raises:
      ValueError: the sparsity is not in [0, 1).

    >>> with saving(None, ())():
    ...     pass
    """
    from dst_jax import activations, checks

    if sparsity is None:
        return nullcontext
    checks.fraction(_OPTION, sparsity)
    return partial(activations.saving_largest, sparsity, rules=tuple(rules))


def saved_sparsity_apart(texts: Sequence[str]) -> tuple[float | None, list[str]]:
    """That sparsity among the options of a method, and the others.

    Args:
      texts: NAME=VALUE, of both.

    Raises:
      ValueError: a text has another form, or the value is no number.

    >>> saved_sparsity_apart(["distribution=uniform", "saved_sparsity=0.8"])
    (0.8, ['distribution=uniform'])
    """
    found = [value for name, value in pairs(texts) if name == _OPTION]
    others = [text for text in texts if text.partition("=")[0] != _OPTION]
    return (number(found[-1]) if found else None), others
