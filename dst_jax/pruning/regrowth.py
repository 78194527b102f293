"""Densities by layer that a search can move: reduced everywhere, then regrown.

UniPTS prunes every layer a little too hard and gives what that saves back to the
layers by a softmax of one number for each. A genetic search moves these numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dst_jax import checks
from dst_jax.kernels import Kernel
from dst_jax.pruning import masks, scores, selection
from dst_jax.typing import Mask, Params, Rules

__all__ = ["KeptWeights", "Searched", "genetic_search", "regrown"]

Genes = Float[np.ndarray, " layers"]


class Searched(NamedTuple):
    """What a genetic search has found.

    Attributes:
      best: the numbers of highest fitness.
      fitness: their fitness.
      uniform: fitness of equal numbers.
      history: best fitness so far, after each generation.
    """

    best: Genes
    fitness: float
    uniform: float
    history: tuple[float, ...]


@dataclass(frozen=True)
class KeptWeights:
    """A distribution that gives every layer a number of weights that is known.

    Attributes:
      kept: number of weights that each layer keeps, by name.

    >>> KeptWeights({"a": 3})({"a": (2, 2)}, 0.25)
    {'a': 3}
    """

    kept: Mapping[str, int]

    def __call__(self, shapes: Mapping[str, Any], sparsity: Any) -> dict[str, int]:
        """The numbers, whatever the sparsity.

        Raises:
          ValueError: the layers are others.
        """
        del sparsity
        if shapes.keys() != self.kept.keys():
            odd = sorted(shapes.keys() ^ self.kept.keys())
            raise ValueError(f"kept must name every layer and no other: {odd}")
        return dict(self.kept)

    def __hash__(self) -> int:
        return hash(tuple(self.kept.items()))

    def mask(
        self,
        params: Params,
        *,
        rules: Rules = (),
        kernels: Mapping[str, Kernel] | None = None,
    ) -> Mask:
        """A mask that keeps as many weights of every layer, the largest.

        Args:
          params: pytree of float arrays.
          rules, kernels: as for `masks.prunable`.

        >>> import jax.numpy as jnp
        >>> w = {"fc": {"kernel": jnp.array([[3.0, 1.0], [-2.0, 0.5]])}}
        >>> KeptWeights({"fc/kernel": 1}).mask(w)["fc"]["kernel"].tolist()
        [[True, False], [False, False]]
        """
        weights, layout = masks.prunable_layers(params, rules, kernels=kernels)
        chosen = selection.top_k(scores.magnitude(weights), self.kept)
        return masks.assemble(chosen, layout, params)


def regrown(
    sizes: Mapping[str, int],
    numbers: Sequence[float] | Genes,
    *,
    sparsity: float,
    reserve: float = 0.05,
) -> KeptWeights:
    """Weights that each layer keeps: all are pruned too hard, then some grow back.

        P_l = max(0, sparsity + reserve - reserve N softmax(numbers)_l / n_l)

    with `n_l` weights in layer `l` and `N` in all. Equal numbers give small layers more
    than large ones. The counts add up to `round((1 - sparsity) N)`: what a full layer
    (`P_l = 0`) cannot take goes to the others in proportion to their softmax, which the
    authors' code drops.

    Args:
      sizes: number of weights by layer.
      numbers: a number for each layer, in the order of `sizes`.
      sparsity: sparsity of all layers together, in [0, 1).
      reserve: share of all weights that is given back, in [0, 1 - sparsity]; reduced to
        that limit if it is larger.

    Raises:
      ValueError: a value is out of range, or there is not one number for each layer.

    Reference:
      UniPTS (Xie et al. 2024, arXiv 2405.18810), from the authors' code.

    >>> dict(regrown({"a": 100, "b": 100}, [0.0, 0.0], sparsity=0.5).kept)
    {'a': 50, 'b': 50}
    >>> dict(regrown({"a": 100, "b": 100}, [9.0, 0.0], sparsity=0.5).kept)
    {'a': 55, 'b': 45}
    """
    checks.fraction("sparsity", sparsity)
    checks.share("reserve", reserve)
    numbers = np.asarray(numbers, np.float64)
    if numbers.shape != (len(sizes),) or not np.isfinite(numbers).all():
        raise ValueError(
            f"numbers must be {len(sizes)} finite numbers, one for each layer, got"
            f" {numbers.tolist()}"
        )
    n = np.array(list(sizes.values()), np.float64)
    reserve = min(reserve, 1 - sparsity)
    total = round((1 - sparsity) * n.sum())
    shares = np.exp(numbers - numbers.max())
    kept = _filled((1 - sparsity - reserve) * n, shares, n, total)
    whole = np.floor(kept + 1e-9)
    order = np.argsort(whole - kept, kind="stable")
    room = [i for i in order if whole[i] < n[i]]
    for i in room[: int(total - whole.sum())]:
        whole[i] += 1
    return KeptWeights(dict(zip(sizes, whole.astype(int).tolist(), strict=True)))


def genetic_search(
    fitness: Callable[[Genes], float],
    length: int,
    *,
    population: int = 25,
    generations: int = 25,
    parents: int = 10,
    mutation: float = 0.1,
    seed: int = 0,
) -> Searched:
    """Genes of high fitness by crossover and mutation.

    The first population is equal numbers and draws from [0, 1). Of each population the
    best are parents of the next: equal numbers again, children that take every number
    from one of two parents, and children of one parent of which each number is
    multiplied by `1 + N(0, 1)` with probability `mutation`. The best of all populations
    is returned; the authors' code takes the best of the last one.

    Args:
      fitness: function of the numbers; larger is better.
      length: how many numbers.
      population: size of a population, at least 2.
      generations: number of populations, at least 1.
      parents: number of parents, in [2, population].
      mutation: probability of a mutation, in [0, 1].
      seed: seed of all draws.

    Returns:
      The best numbers; never worse than equal ones.

    Raises:
      ValueError: an argument is out of range, or a fitness is NaN.

    Reference:
      UniPTS (Xie et al. 2024, arXiv 2405.18810), from the authors' code.

    >>> found = genetic_search(lambda v: -abs(v - 0.5).sum(), 2, generations=5)
    >>> found.uniform, found.fitness > -0.1
    (-1.0, True)
    """
    least = {"length": 1, "population": 2, "generations": 1, "parents": 2}
    given = (length, population, generations, parents)
    for (name, value), argument in zip(least.items(), given, strict=True):
        checks.at_least(name, argument, value)
    if parents > population:
        raise ValueError(f"parents must be at most {population}, got {parents}")
    checks.share("mutation", mutation)
    rng = np.random.default_rng(seed)
    equal = np.zeros(length)
    known: dict[bytes, float] = {}

    def measured(numbers: Genes) -> float:
        key = numbers.tobytes()
        if key not in known:
            known[key] = float(fitness(numbers))
        if np.isnan(known[key]):
            raise ValueError(f"fitness must be a number, got NaN for {numbers}")
        return known[key]

    people = [equal, *rng.uniform(size=(population - 1, length))]
    best, history = equal, []
    for generation in range(generations):
        if generation:
            people = [
                equal,
                *_children(rng, people[:parents], population - 1, mutation),
            ]
        people = sorted(people, key=measured, reverse=True)
        best = max(best, people[0], key=measured)
        history.append(measured(best))
    return Searched(best, measured(best), measured(equal), tuple(history))


def _filled(base: Genes, shares: Genes, most: Genes, total: int) -> Genes:
    """`base + f shares`, at most `most`, with the factor that makes the sum `total`."""
    full = np.zeros(len(base), bool)
    while True:
        left = total - most[full].sum() - base[~full].sum()
        kept = most.copy()
        if not full.all():
            part = shares[~full] / shares[~full].sum()
            kept[~full] = base[~full] + left * part
        over = (kept > most) & ~full
        if not over.any():
            return kept
        full |= over


def _children(
    rng: np.random.Generator, parents: Sequence[Genes], count: int, mutation: float
) -> list[Genes]:
    """Half of them of two parents, the others of one and changed."""
    found = []
    for i in range(count):
        one, other = (parents[j] for j in rng.choice(len(parents), 2, replace=False))
        if i < count // 2:
            found.append(np.where(rng.integers(0, 2, len(one)) == 1, one, other))
            continue
        factors = 1 + rng.normal(size=len(one))
        found.append(np.where(rng.uniform(size=len(one)) < mutation, factors, 1) * one)
    return found
