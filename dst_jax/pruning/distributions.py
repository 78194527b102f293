"""Distributions: how a target sparsity is shared out between layers.

Each gives, from the shapes of the prunable leaves alone, the number of weights that
every layer keeps; their sum is `round((1 - sparsity) * total)` exactly, but for
layers that would keep more than they have.
"""

import math
from collections.abc import Mapping

__all__ = ["erk", "erk_densities", "uniform"]

Shapes = Mapping[str, tuple[int, ...]]


def uniform(shapes: Shapes, sparsity: float) -> dict[str, int]:
    """The same sparsity in every layer, to one weight.

    >>> uniform({"a": (10, 10), "b": (4,)}, 0.5)
    {'a': 50, 'b': 2}
    """
    return {k: _round((1 - sparsity) * math.prod(s)) for k, s in shapes.items()}


def erk(shapes: Shapes, sparsity: float) -> dict[str, int]:
    """Weights that each layer keeps under Erdos-Renyi-Kernel densities.

    Rounded by largest remainder, so that the sum is the target to one weight.

    >>> erk({"conv": (3, 3, 4, 8), "fc": (8, 10)}, 0.5)
    {'conv': 104, 'fc': 80}
    """
    densities = erk_densities(shapes, sparsity)
    exact = {k: densities[k] * math.prod(shapes[k]) for k in shapes}
    kept = {k: math.floor(x + 1e-9) for k, x in exact.items()}
    target = _round((1 - sparsity) * sum(map(math.prod, shapes.values())))
    missing = target - sum(kept.values())
    step = 1 if missing > 0 else -1
    order = sorted(shapes, key=lambda k: step * (kept[k] - exact[k]))
    for k in order[: abs(missing)]:
        kept[k] += step
    return kept


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
        budget = total - sum(sizes[k] for k in dense)
        eps = max(budget, 0) / sum(raw[k] * sizes[k] for k in rest)
        largest = max(raw[k] for k in rest)
        if eps * largest <= 1:
            return {k: 1.0 if k in dense else eps * raw[k] for k in shapes}
        dense |= {k for k in rest if raw[k] == largest}
    return dict.fromkeys(shapes, 1.0)


def _round(x: float) -> int:
    """Half up, where Python's `round` would go to the even number."""
    return math.floor(x + 0.5)
