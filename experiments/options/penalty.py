"""A penalty and its shape parameters, as two groups of options give them."""

from collections.abc import Sequence
from typing import Any

from experiments.options.texts import about, number, pairs

__all__ = ["check_shape", "shape"]


def shape(
    group: str, penalty: str, texts: Sequence[str], a: float | None
) -> dict[str, Any]:
    """The shape parameters that are given.

    Args:
      group: name of the group of options on the command line.
      penalty: name of the penalty.
      texts: NAME=NUMBER, as the option `options` gives them.
      a: value of the option `a`.

    Raises:
      ValueError: a text of another form, an unknown parameter, or one out of range.

    >>> shape("activation", "mcp", ["gamma=2"], None)
    {'gamma': 2.0}
    """
    from dst_jax import penalties

    with about(f"--{group}.options"):
        options = {name: number(text) for name, text in pairs(texts)}
    if a is not None:
        options["a"] = a
    with about(f"--{group}.penalty"):
        penalties.get(penalty, **options)
    return options


def check_shape(group: str, penalty: str, a: float | None) -> None:
    """Refuses the option `a` for a penalty that has no such parameter.

    >>> check_shape("prune", "l1", 1.0)
    Traceback (most recent call last):
    ValueError: --prune.a is for transformed_l1, not l1
    """
    if a is not None and penalty != "transformed_l1":
        raise ValueError(f"--{group}.a is for transformed_l1, not {penalty}")
