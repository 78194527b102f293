"""Layers of given density set aside, and what is left for the others."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import checks
from dst_jax.pruning.integer_shares import budget, half_up, in_proportion, lift
from dst_jax.pruning.selection import KeptCount
from dst_jax.typing import Rules

__all__ = ["Kept", "Remainder", "Shapes", "set_aside"]

Shapes = Mapping[str, tuple[int, ...]]
Kept = dict[str, Any]
"""Numbers of weights to keep, `selection.KeptCounts`: ints, or int32 arrays."""


class Remainder(NamedTuple):
    """What is left to share once layers of given density are set aside.

    Attributes:
      fixed: numbers of the layers that are set aside.
      sizes: numbers of weights of the layers that share.
      floors: smallest numbers that these layers keep.
      kept: number that these layers keep together.
    """

    fixed: Kept
    sizes: dict[str, int]
    floors: dict[str, int]
    kept: KeptCount

    def share_out(
        self, shapes: Shapes, weight: Callable[[tuple[int, ...]], int]
    ) -> Kept:
        """The number of every layer, in proportion to `weight` of its shape."""
        if not self.sizes:
            return self.fixed
        weights = np.array([weight(shapes[k]) for k in self.sizes], float)
        shares = in_proportion(np.array([*self.sizes.values()]), weights, self.kept)
        if any(self.floors.values()):
            shares = lift(shares, np.array([*self.floors.values()]))
        if isinstance(shares, np.ndarray):
            shares = [int(n) for n in shares]
        shared = dict(zip(self.sizes, shares, strict=True))
        return {k: self.fixed[k] if k in self.fixed else shared[k] for k in shapes}


def set_aside(
    shapes: Shapes,
    sparsity: Any,
    densities: Rules,
    dense: Sequence[str],
    layer_floor: float,
) -> Remainder:
    """What is left to share once layers of given density are set aside.

    Args:
      shapes, sparsity, densities, dense, layer_floor: as for `distributions.uniform`.

    Raises:
      ValueError: what is given leaves too few weights, or a regex matches no layer.

    >>> set_aside({"a": (10, 10), "b": (4,)}, 0.5, (), ["b"], 0.25)
    Remainder(fixed={'b': 4}, sizes={'a': 100}, floors={'a': 25}, kept=48)
    """
    checks.share("layer_floor", layer_floor)
    fixed = {}
    for pattern, density in [*densities, *((p, 1.0) for p in dense)]:
        checks.share(f"density of {pattern!r}", density)
        found = [k for k in shapes if re.search(pattern, k)]
        if not found:
            raise ValueError(f"{pattern!r} matches none of: {', '.join(shapes)}")
        for k in found:
            fixed.setdefault(k, half_up(density * math.prod(shapes[k])))
    slack = len(fixed)  # rounding each of them may leave one weight
    fixed |= {k: 0 for k, shape in shapes.items() if not math.prod(shape)}
    sizes = {k: math.prod(shapes[k]) for k in shapes if k not in fixed}
    room = sum(sizes.values())
    total = sum(math.prod(s) for s in shapes.values())
    floors = {k: math.ceil(layer_floor * n - 1e-9) for k, n in sizes.items()}
    kept = budget(total, sparsity) - sum(fixed.values())
    if isinstance(kept, jax.Array):
        return Remainder(fixed, sizes, floors, jnp.clip(kept, 0, room))
    if not -slack <= kept <= room + slack:
        raise ValueError(
            f"sparsity {sparsity} keeps {budget(total, sparsity)} of {total} weights,"
            f" but the given densities keep {sum(fixed.values())} and the other layers"
            f" have {room}"
        )
    if sum(floors.values()) > max(kept, 0):
        raise ValueError(
            f"layer_floor must leave room: {layer_floor} keeps {sum(floors.values())}"
            f" weights, and sparsity {sparsity} only {max(kept, 0)}"
        )
    return Remainder(fixed, sizes, floors, min(max(kept, 0), room))
