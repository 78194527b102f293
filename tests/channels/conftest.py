"""Small functions whose groups are known, and the check that they are right."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dst_jax import channels, trees


class Case(NamedTuple):
    """A function, the shapes of its weights and its input, and its groups.

    `groups` is a list of `(number of units, members)`, a member being `path:axis`.
    """

    fn: Callable[..., Any]
    shapes: dict[str, tuple[int, ...]]
    x: tuple[int, ...]
    groups: list[tuple[int, set[str]]]
    split: channels.SplitSide = "outer"
    exact: bool = True

    def weights(self):
        rng = np.random.default_rng(0)
        return {
            name: jnp.asarray(rng.normal(size=shape), jnp.float32) * 0.5
            for name, shape in self.shapes.items()
        }

    def input(self):
        return jnp.asarray(np.random.default_rng(1).normal(size=self.x), jnp.float32)


def members(group):
    return {f"{path}:{axis}" for path, axis, _ in group.members}


def subsets(groups, seed):
    """About half of every group, neither all of it nor nothing."""
    rng = np.random.default_rng(seed)
    keep = {}
    for name, group in groups.items():
        chosen = rng.random(group.size) < 0.5
        one, other = rng.permutation(group.size)[[0, -1]]
        chosen[other], chosen[one] = False, True
        keep[name] = chosen
    return keep


def removes_as_it_masks(fn, weights, x, groups, keep):
    """What is computed without units, and with zeros in their place."""
    small = channels.remove(weights, groups, keep)
    masked = channels.mask(weights, groups, keep)
    assert trees.count(small) < trees.count(weights)
    found = channels.smaller(fn, groups, keep)(small, x)
    return found, fn(masked, x)
