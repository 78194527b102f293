"""Distributions: how a target sparsity is shared out between layers.

Each gives, from the shapes of the prunable leaves alone, the number of weights that
every layer keeps; `joint` gives one number for all layers together. The sum is
`round((1 - sparsity) * total)` exactly, whatever the rounding of the single layers.
A sparsity that is an array, maybe traced, gives int32 arrays; a number gives ints.

A layer is taken out of the sharing by `densities=[(regex, density), ...]` (first match
wins) or `dense=[regex, ...]`, short for density 1: the others make up for it, so that
the total is still met. A layer that shall not count at all is excluded by `rules` of
`masks.prunable`.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import checks
from dst_jax.pruning.integer_shares import budget, half_up, hand_out, in_proportion
from dst_jax.pruning.selection import JOINT, Count
from dst_jax.typing import Rules

__all__ = [
    "Distribution",
    "by_name",
    "er",
    "erk",
    "erk_densities",
    "joint",
    "uniform",
    "within",
]

Shapes = Mapping[str, tuple[int, ...]]
Kept = dict[str, Any]
"""Numbers to keep, `selection.Counts`: ints, or int32 arrays."""
Distribution = Callable[[Shapes, Any], Kept]
"""`(shapes, sparsity) -> kept`."""


def uniform(
    shapes: Shapes, sparsity: Any, *, densities: Rules = (), dense: Sequence[str] = ()
) -> Kept:
    """The same sparsity in every layer, to one weight.

    >>> uniform({"a": (10, 10), "b": (4,)}, 0.5)
    {'a': 50, 'b': 2}
    >>> uniform({"a": (10, 10), "b": (4,)}, 0.5, dense=["b"])
    {'a': 48, 'b': 4}
    """
    return _share_out(shapes, sparsity, math.prod, densities, dense)


def erk(
    shapes: Shapes, sparsity: Any, *, densities: Rules = (), dense: Sequence[str] = ()
) -> Kept:
    """Weights that each layer keeps under Erdos-Renyi-Kernel densities.

    Rounded by largest remainder, so that the sum is the target to one weight.

    >>> erk({"conv": (3, 3, 4, 8), "fc": (8, 10)}, 0.5)
    {'conv': 104, 'fc': 80}
    """
    return _share_out(shapes, sparsity, sum, densities, dense)


def er(
    shapes: Shapes, sparsity: Any, *, densities: Rules = (), dense: Sequence[str] = ()
) -> Kept:
    """Erdos-Renyi without the kernel: density `eps * (n_in + n_out) / (n_in * n_out)`.

    Kernels have the shape (..., in, out).

    Reference:
      Mocanu et al. 2018 (SET, arXiv 1707.04780).

    >>> er({"conv": (3, 3, 4, 8), "fc": (8, 10)}, 0.5)
    {'conv': 158, 'fc': 26}
    """

    def weight(shape: tuple[int, ...]) -> int:
        return math.prod(shape[:-2]) * sum(shape[-2:])

    return _share_out(shapes, sparsity, weight, densities, dense)


def joint(
    shapes: Shapes, sparsity: Any, *, densities: Rules = (), dense: Sequence[str] = ()
) -> Kept:
    """One number for all layers: they compete with each other ("global").

    >>> joint({"a": (10, 10), "b": (4,)}, 0.5)
    {'': 52}
    >>> joint({"a": (10, 10), "b": (4,)}, 0.5, dense=["b"])
    {'b': 4, '': 48}
    """
    fixed, rest, kept = _set_aside(shapes, sparsity, densities, dense)
    return fixed | ({JOINT: kept} if rest else {})


_BY_NAME: dict[str, Distribution] = {
    "uniform": uniform,
    "erk": erk,
    "er": er,
    "global": joint,
}


def by_name(distribution: str | Distribution) -> Distribution:
    """A distribution by name, or a function as it is.

    Args:
      distribution: "uniform", "erk", "er", "global", `module:attribute`, or a function.

    Raises:
      ValueError: an unknown name.

    >>> by_name("erk") is erk
    True
    """
    if callable(distribution):
        return distribution
    return checks.lookup("distribution", distribution, _BY_NAME)


def within(kept: Kept, most: Mapping[str, Any]) -> Kept:
    """`kept` with no layer above `most`; the others take over what that leaves.

    A pruned weight never comes back if no layer may keep more than it has.

    Args:
      kept: as a distribution gives it.
      most: the largest number by the same names.

    >>> {k: int(n) for k, n in within({"a": 5, "b": 5}, {"a": 3, "b": 9}).items()}
    {'a': 3, 'b': 7}
    """
    wanted = jnp.stack([jnp.asarray(n, jnp.int32) for n in kept.values()])
    most_of = jnp.stack([jnp.asarray(most[k], jnp.int32) for k in kept])
    capped = jnp.minimum(wanted, most_of)
    order = np.arange(len(kept))
    given = hand_out(wanted.sum() - capped.sum(), most_of - capped, order, jnp)
    return dict(zip(kept, capped + given, strict=True))


def erk_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Erdos-Renyi-Kernel densities: layers with small kernels stay denser.

        density_l = min(1, eps * sum(shape_l) / prod(shape_l))

    with `eps` such that the whole tree has the target sparsity. A layer whose
    density would pass 1 is kept dense and `eps` is computed again for the others.
    As in the authors' code, the zeros of every layer are first rounded down.

    Args:
      shapes: kernel shapes by name; the order of the axes does not matter.
      sparsity: the target for all layers together, in [0, 1].

    Returns:
      Densities in [0, 1] by name.

    Reference:
      Evci et al. 2020 (RigL, arXiv 1911.11134), appendix; rules as in its code.

    >>> shapes = {"c1": (3, 3, 3, 64), "c2": (3, 3, 64, 64), "fc": (128, 10)}
    >>> {k: round(d, 4) for k, d in erk_densities(shapes, 0.9).items()}
    {'c1': 0.5527, 'c2': 0.0476, 'fc': 1.0}
    """
    sizes = {k: math.prod(s) for k, s in shapes.items()}
    raw = {k: sum(s) / sizes[k] for k, s in shapes.items()}
    total = sum(n - math.floor(sparsity * n + 1e-9) for n in sizes.values())
    dense: set[str] = set()
    while len(dense) < len(shapes):
        rest = [k for k in shapes if k not in dense]
        left = total - sum(sizes[k] for k in dense)
        eps = max(left, 0) / sum(raw[k] * sizes[k] for k in rest)
        largest = max(raw[k] for k in rest)
        if eps * largest <= 1:
            return {k: 1.0 if k in dense else eps * raw[k] for k in shapes}
        dense |= {k for k in rest if raw[k] == largest}
    return dict.fromkeys(shapes, 1.0)


def _share_out(
    shapes: Shapes,
    sparsity: Any,
    weight: Callable[[tuple[int, ...]], int],
    densities: Rules,
    dense: Sequence[str],
) -> Kept:
    fixed, rest, kept = _set_aside(shapes, sparsity, densities, dense)
    if not rest:
        return fixed
    sizes = np.array([math.prod(shapes[k]) for k in rest])
    weights = np.array([weight(shapes[k]) for k in rest], float)
    shares = in_proportion(sizes, weights, kept)
    if isinstance(shares, np.ndarray):
        shares = [int(n) for n in shares]
    shared = dict(zip(rest, shares, strict=True))
    return {k: fixed[k] if k in fixed else shared[k] for k in shapes}


def _set_aside(
    shapes: Shapes, sparsity: Any, densities: Rules, dense: Sequence[str]
) -> tuple[Kept, list[str], Count]:
    """Layers of given density, the others, and what is left to keep in those."""
    fixed = {}
    for pattern, density in [*densities, *((p, 1.0) for p in dense)]:
        checks.share(f"density of {pattern!r}", density)
        found = [k for k in shapes if re.search(pattern, k)]
        if not found:
            raise ValueError(f"{pattern!r} matches none of: {', '.join(shapes)}")
        for k in found:
            fixed.setdefault(k, half_up(density * math.prod(shapes[k])))
    rest = [k for k in shapes if k not in fixed]
    room = sum(math.prod(shapes[k]) for k in rest)
    total = sum(math.prod(s) for s in shapes.values())
    kept = budget(total, sparsity) - sum(fixed.values())
    if isinstance(kept, jax.Array):
        return fixed, rest, jnp.clip(kept, 0, room)
    # Rounding each of the given densities may leave one weight a layer.
    if not -len(fixed) <= kept <= room + len(fixed):
        raise ValueError(
            f"sparsity {sparsity} keeps {budget(total, sparsity)} of {total} weights,"
            f" but the given densities keep {sum(fixed.values())} and the other layers"
            f" have {room}"
        )
    return fixed, rest, min(max(kept, 0), room)
