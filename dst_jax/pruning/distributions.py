"""Distributions: how a target sparsity is shared out between layers.

Each gives, from the shapes of the prunable leaves alone, the number of weights that
every layer keeps; `joint` gives one number for all layers together. The sum is
`round((1 - sparsity) * total)` exactly, whatever the rounding of the single layers.
A sparsity that is an array, maybe traced, gives int32 arrays; a number gives ints.

A layer is taken out of the sharing by `densities=[(regex, density), ...]` (first match
wins) or `dense=[regex, ...]`, short for density 1: the others make up for it, so that
the total is still met. A layer that shall not count at all is excluded by `rules` of
`masks.prunable`. `layer_floor` is the smallest density of any layer: what it takes
comes from the layers above it. Layers without weights keep none.

The shapes are those of single layers, (*window, inputs, outputs).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dst_jax import checks
from dst_jax.pruning.integer_shares import MOST, hand_out
from dst_jax.pruning.selection import JOINT, AtLeast
from dst_jax.pruning.set_aside import Kept, Shapes, set_aside
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

Distribution = Callable[[Shapes, Any], Kept]
"""`(shapes, sparsity) -> kept`."""


def uniform(
    shapes: Shapes,
    sparsity: Any,
    *,
    densities: Rules = (),
    dense: Sequence[str] = (),
    layer_floor: float = 0.0,
) -> Kept:
    """Weights that each layer keeps under the same sparsity, to one weight.

    Args:
      shapes: shapes of the layers by name.
      sparsity: sparsity of all layers together, in [0, 1]; may be traced.
      densities: `[(regex, density), ...]`, densities of layers that do not share.
      dense: regexes of layers that are kept whole.
      layer_floor: smallest density of a layer, in [0, 1 - sparsity].

    Raises:
      ValueError: what is given leaves too few weights, or a regex matches no layer.

    >>> uniform({"a": (10, 10), "b": (4,)}, 0.5)
    {'a': 50, 'b': 2}
    >>> uniform({"a": (10, 10), "b": (4,)}, 0.5, dense=["b"])
    {'a': 48, 'b': 4}
    """
    rest = set_aside(shapes, sparsity, densities, dense, layer_floor)
    return rest.share_out(shapes, math.prod)


def erk(
    shapes: Shapes,
    sparsity: Any,
    *,
    densities: Rules = (),
    dense: Sequence[str] = (),
    layer_floor: float = 0.0,
) -> Kept:
    """Weights that each layer keeps under Erdos-Renyi-Kernel densities.

    Rounded by largest remainder, so that the sum is the target to one weight.

    Args:
      shapes, sparsity, densities, dense, layer_floor: as for `uniform`.

    Raises:
      ValueError: as for `uniform`.

    >>> erk({"conv": (3, 3, 4, 8), "fc": (8, 10)}, 0.5)
    {'conv': 104, 'fc': 80}
    """
    rest = set_aside(shapes, sparsity, densities, dense, layer_floor)
    return rest.share_out(shapes, sum)


def er(
    shapes: Shapes,
    sparsity: Any,
    *,
    densities: Rules = (),
    dense: Sequence[str] = (),
    layer_floor: float = 0.0,
) -> Kept:
    """Weights that each layer keeps under Erdos-Renyi densities, the window left out.

        density_l = min(1, eps * (n_in + n_out) / (n_in * n_out))

    Args:
      shapes, sparsity, densities, dense, layer_floor: as for `uniform`.

    Raises:
      ValueError: as for `uniform`.

    Reference:
      Mocanu et al. 2018 (SET, arXiv 1707.04780).

    >>> er({"conv": (3, 3, 4, 8), "fc": (8, 10)}, 0.5)
    {'conv': 158, 'fc': 26}
    """

    def weight(shape: tuple[int, ...]) -> int:
        return math.prod(shape[:-2]) * sum(shape[-2:])

    rest = set_aside(shapes, sparsity, densities, dense, layer_floor)
    return rest.share_out(shapes, weight)


def joint(
    shapes: Shapes,
    sparsity: Any,
    *,
    densities: Rules = (),
    dense: Sequence[str] = (),
    layer_floor: float = 0.0,
) -> Kept:
    """One number for all layers: they compete with each other ("global").

    Args:
      shapes, sparsity, densities, dense: as for `uniform`.
      layer_floor: smallest density of a layer, so that none is pruned whole.

    Raises:
      ValueError: as for `uniform`, or more than 2^31 - 1 weights compete.

    >>> joint({"a": (10, 10), "b": (4,)}, 0.5)
    {'': 52}
    >>> joint({"a": (10, 10), "b": (4,)}, 0.5, dense=["b"])
    {'b': 4, '': 48}
    >>> joint({"a": (10, 10), "b": (4,)}, 0.5, layer_floor=0.25)
    {'a': AtLeast(number=25), 'b': AtLeast(number=1), '': 52}
    """
    rest = set_aside(shapes, sparsity, densities, dense, layer_floor)
    if not rest.sizes:
        return rest.fixed
    number = sum(rest.sizes.values())
    if number > MOST:
        raise ValueError(
            f'distribution "global" compares at most {MOST} weights, got {number}: use'
            " one by layer, such as uniform or erk"
        )
    floors = {k: AtLeast(n) for k, n in rest.floors.items() if n}
    return rest.fixed | floors | {JOINT: rest.kept}


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
      ValueError: an unknown name, or what is found is no function.

    >>> by_name("erk") is erk
    True
    """
    if callable(distribution):
        return distribution
    return checks.function("distribution", distribution, _BY_NAME)


def within(kept: Kept, most: Mapping[str, Any]) -> Kept:
    """`kept` with no layer above `most`; the others take over what that leaves.

    A pruned weight never comes back if no layer may keep more than it has.

    Args:
      kept: numbers as a distribution gives them.
      most: largest numbers by the same names.

    >>> {k: int(n) for k, n in within({"a": 5, "b": 5}, {"a": 3, "b": 9}).items()}
    {'a': 3, 'b': 7}
    """
    names = [k for k, n in kept.items() if not isinstance(n, AtLeast)]
    wanted = jnp.stack([jnp.asarray(kept[k], jnp.int32) for k in names])
    most_of = jnp.stack([jnp.asarray(most[k], jnp.int32) for k in names])
    capped = jnp.minimum(wanted, most_of)
    order = np.arange(len(names))
    given = hand_out(wanted.sum() - capped.sum(), most_of - capped, order, jnp)
    floors = {
        k: AtLeast(jnp.minimum(n.number, most[k]))
        for k, n in kept.items()
        if isinstance(n, AtLeast)
    }
    return floors | dict(zip(names, capped + given, strict=True))


def erk_densities(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Erdos-Renyi-Kernel densities: layers with small kernels stay denser.

        density_l = min(1, eps * sum(shape_l) / prod(shape_l))

    with `eps` such that the whole tree has the target sparsity. A layer whose
    density would pass 1 is kept dense and `eps` is computed again for the others.
    As in the authors' code, the zeros of every layer are first rounded down.

    Args:
      shapes: shapes of the layers by name; the order of the axes does not matter.
      sparsity: sparsity of all layers together, in [0, 1].

    Returns:
      Densities in [0, 1] by name, 1 for a layer without weights.

    Reference:
      Evci et al. 2020 (RigL, arXiv 1911.11134), appendix; rules as in its code.

    >>> shapes = {"c1": (3, 3, 3, 64), "c2": (3, 3, 64, 64), "fc": (128, 10)}
    >>> {k: round(d, 4) for k, d in erk_densities(shapes, 0.9).items()}
    {'c1': 0.5527, 'c2': 0.0476, 'fc': 1.0}
    """
    sizes = {k: math.prod(s) for k, s in shapes.items()}
    raw = {k: sum(s) / max(sizes[k], 1) for k, s in shapes.items()}
    total = sum(n - math.floor(sparsity * n + 1e-9) for n in sizes.values())
    dense = {k for k in shapes if not sizes[k]}
    while len(dense) < len(shapes):
        rest = [k for k in shapes if k not in dense]
        left = total - sum(sizes[k] for k in dense)
        eps = max(left, 0) / sum(raw[k] * sizes[k] for k in rest)
        largest = max(raw[k] for k in rest)
        if eps * largest <= 1:
            return {k: 1.0 if k in dense else eps * raw[k] for k in shapes}
        dense |= {k for k in rest if raw[k] == largest}
    return dict.fromkeys(shapes, 1.0)
