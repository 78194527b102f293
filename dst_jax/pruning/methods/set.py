"""SET: sparse evolutionary training."""

from typing import Any

from dst_jax.pruning import schedules
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution
from dst_jax.pruning.methods.rigl import exploration
from dst_jax.pruning.protocol import Method
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import Importance, LayerOrGlobal

__all__ = ["set_"]


@method(lengths={"end": 0.75, "interval": 0.02}, ends=["end"], structures="units")
def set_(
    *,
    sparsity: Any,
    interval: Any = 100,
    end: Any = None,
    drop_fraction: Any = 0.3,
    decay: str = "constant",
    distribution: str | Distribution = "er",
    structure: Structure | None = None,
    scope: LayerOrGlobal = "layer",
    drop: str | Importance = "magnitude",
) -> Method:
    """SET: drops the smallest weights at every update and grows as many at random.

    In the form of RigL's comparison: drops by `|w|`, where the authors drop the
    smallest positive and the largest negative weights apart. The authors' fraction is
    constant; RigL's comparison and JaxPruner decay it along a cosine to `end`.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1); it never changes.
      interval: steps between mask updates; the authors update after every epoch.
      end: first step without updates; None = updates never stop.
      drop_fraction: fraction of each layer's active weights that is dropped, in [0, 1].
      decay: decay of the drop fraction, "constant", "cosine" or "linear"; the last two
        need `end`.
      distribution: distribution of the first, random mask.
      structure: units of weights that are dropped and grown together.
      scope: "layer" keeps each layer's number, "global" lets layers compete.
      drop: score by name, as `module:attribute`, or a function of `Step`.

    Raises:
      ValueError: an option is out of range, or the fraction decays and `end` is None.

    Reference:
      Mocanu et al. 2018 (arXiv 1707.04780).

    >>> import optax
    >>> tx = set_(optax.sgd(0.01, momentum=0.9), sparsity=0.9, interval=500)
    """
    if end is None and decay != "constant":
        raise ValueError(f"decay {decay!r} needs end, the step where it is over")
    fraction = schedules.decay(decay, drop_fraction, end=0 if end is None else end)
    due = schedules.every(interval, end=end)
    return exploration(
        sparsity, fraction, due, drop, "random", distribution, structure, scope
    )
