"""Weights that are read off what is trained, with gradients as if they were it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.typing import ArrayLike

from dst_jax import trees
from dst_jax.parametrisations.base import StateLike
from dst_jax.typing import Params

__all__ = ["StraightThrough", "straight_through"]


@dataclass(frozen=True)
class StraightThrough:
    """Weights read off what is trained: what `straight_through` returns."""

    read: Callable[[Params, Any], Params]

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """The weights, none of them pruned by this.

        >>> straight_through(lambda w, opt_state: round(w)).init(0.6)  # not yet rounded
        0.6
        """
        del seed
        return weights

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """`read(trained, opt_state)`; the backward pass is the identity."""
        seen = self._read(jax.lax.stop_gradient(trained), state)
        _check_alike(trained, seen)
        return _substitute(trained, seen)

    def finish(self, trained: Params, state: StateLike) -> Params:
        """`read(trained, opt_state)`.

        >>> from dst_jax.parametrisations import State
        >>> scaled = straight_through(lambda w, opt_state: opt_state["scale"] * w)
        >>> scaled.finish(3, State(opt_state={"scale": 2}))
        6
        """
        return self._read(trained, state)

    def _read(self, trained: Params, state: StateLike) -> Params:
        return self.read(trained, getattr(state, "opt_state", ()))


def straight_through(read: Callable[[Params, Any], Params]) -> StraightThrough:
    """Trains dense weights of which the network sees others: masked, gated, rounded.

        weights = read(trained, opt_state)
        dL / d trained = dL / d weights

    The forward value is that of `read` to the bit, and zeros are exactly 0. Since the
    backward pass is the identity, a pruning method's own rule for gradients stays in
    its transform and is applied once.

    Args:
      read: a function of the trained tree and the optimizer's state that returns a tree
        with the same leaves, such as `pruning.sparse_params`.

    Returns:
      A parametrisation that reads `state.opt_state`.

    Raises:
      TypeError: `read` is not a function.
      ValueError: (when called) the tree that `read` returns has other leaves or shapes.

    Reference:
      Bengio et al. 2013 (arXiv 1308.3432).

    >>> import jax.numpy as jnp
    >>> from dst_jax.parametrisations import State
    >>> rounded = straight_through(lambda trained, opt_state: jnp.round(trained))
    >>> loss = lambda w: (rounded(w, State()) ** 2).sum()
    >>> value, grad = jax.value_and_grad(loss)(jnp.array([0.2, 2.9]))
    >>> value.item(), grad.tolist()
    (9.0, [0.0, 6.0])
    """
    if not callable(read):
        raise TypeError(f"read must be a function, got {read!r}")
    return StraightThrough(read)


@jax.custom_jvp
def _substitute(trained: Params, weights: Params) -> Params:
    del trained
    return weights


@_substitute.defjvp
def _substitute_jvp(primals: Any, tangents: Any) -> tuple[Params, Params]:
    """Linear in the tangent of what is trained, so that JAX can transpose it."""
    weights = _substitute(*primals)  # straight through in higher derivatives too
    leaves, treedef = jax.tree.flatten(weights)
    moved = [
        # The tangent of an integer has a type of its own.
        t.astype(w.dtype) if t.dtype != jax.dtypes.float0 else t
        for t, w in zip(jax.tree.leaves(tangents[0]), leaves, strict=True)
    ]
    return weights, jax.tree.unflatten(treedef, moved)


def _check_alike(trained: Params, weights: Params) -> None:
    given, found = _shapes(trained), _shapes(weights)
    differing = sorted(
        name for name in given | found if given.get(name) != found.get(name)
    )
    if differing:
        raise ValueError(
            "read must return a tree with the leaves and shapes of the trained one;"
            f" {', '.join(differing)} differ"
        )


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in trees.named_leaves(tree).items()}
