"""Kernels that several layers share, each with a scale of its own."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dst_jax import checks, trees
from dst_jax.parametrisations.base import StateLike, replicated
from dst_jax.typing import Mask, Params

__all__ = ["Shared", "adjusted_density", "block_rules", "shared"]


@dataclass(frozen=True)
class Shared:
    """Leaves that are owned by others, times a scale: what `shared` returns."""

    rules: tuple[tuple[str, str], ...]

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """`{"weights": ..., "scales": {path: scale}}`, each scale from U(0, 1).

        Args:
          weights: those of the network; what uses another leaf is dropped.
          seed: the seed of the scales, the same for all members of a vmapped ensemble
            unless it is vmapped too; may be traced.

        >>> p = shared([("b", "a")])
        >>> trained = p.init({"a": jnp.ones(2), "b": jnp.ones(2), "fc": jnp.ones(2)})
        >>> trained["weights"]["b"], list(trained["scales"])
        (None, ['b'])
        """
        owners = self.owners(weights)
        root = jax.random.key(seed)

        def scale(name: str) -> jax.Array:
            # A key for every name: other uses do not change what this one draws.
            key = jax.random.fold_in(root, zlib.crc32(name.encode()))
            return replicated(jax.random.uniform(key, dtype=jnp.float32), weights)

        kept = trees.map_named(lambda n, w: None if n in owners else w, weights)
        return {"weights": kept, "scales": {name: scale(name) for name in owners}}

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """All weights: `scale * owner` where a leaf is shared."""
        del state
        owned = trees.named_leaves(trained["weights"])

        def use(name: str, scale: Any) -> jax.Array:
            owner = owned[self._owner(name)]
            return (scale * owner).astype(owner.dtype)

        used = {name: use(name, scale) for name, scale in trained["scales"].items()}
        return _fill(trained["weights"], used)

    def finish(self, trained: Params, state: StateLike) -> Params:
        """All weights, each layer's on its own.

        >>> p = shared([("b", "a")])
        >>> trained = {"weights": {"a": jnp.ones(2), "b": None}, "scales": {"b": 0.5}}
        >>> p.finish(trained, ())["b"].tolist()
        [0.5, 0.5]
        """
        return self(trained, state)

    def finish_mask(self, mask: Mask) -> Mask:
        """The mask of all weights: a leaf that is shared has that of its owner.

        >>> p = shared([("b", "a")])
        >>> owned = {"a": jnp.array([True, False]), "b": None}
        >>> p.finish_mask({"weights": owned, "scales": {"b": None}})["b"].tolist()
        [True, False]
        """
        owned = trees.named_leaves(mask["weights"])
        used = {name: owned.get(self._owner(name)) for name in mask["scales"]}
        return _fill(mask["weights"], used)

    def owners(self, weights: Params) -> dict[str, str]:
        """The path of the owner of every leaf that is not its own.

        >>> leaf = jnp.ones(2)
        >>> weights = {"block1": leaf, "block2": leaf, "fc": leaf}
        >>> shared([(r"block[2-9]", "block1")]).owners(weights)
        {'block2': 'block1'}
        """
        trees.select(weights, self.rules, default="")  # each rule matches something
        leaves = trees.named_leaves(weights)
        named = {name: self._owner(name) for name in leaves}
        owners = {name: owner for name, owner in named.items() if name != owner}
        for name, owner in owners.items():
            self._check(name, owner, leaves, owners)
        return owners

    def _owner(self, name: str) -> str:
        """The path that the first matching rule makes of a name."""
        for pattern, owner in self.rules:
            if re.search(pattern, name):
                return re.sub(pattern, owner, name)
        return name

    def _check(
        self, name: str, owner: str, leaves: dict[str, Any], owners: dict[str, str]
    ) -> None:
        checks.one_of(f"the owner of {name}", owner, leaves)
        if owner in owners:
            raise ValueError(
                f"the owner of {name} must own its weights, but {owner} is shared from"
                f" {owners[owner]}"
            )
        used, owned = leaves[name], leaves[owner]
        if (used.shape, used.dtype) != (owned.shape, owned.dtype):
            raise ValueError(
                f"{name} and its owner {owner} must have the same shape and dtype, got"
                f" {used.shape} {used.dtype} and {owned.shape} {owned.dtype}"
            )


def shared(rules: Sequence[tuple[str, str]]) -> Shared:
    """Layers that use the weights of others, each times a learned scale.

        weights[path] = scale[path] * weights[owner of path]

    A leaf that another owns is not trained. The trained tree is
    `{"weights": ..., "scales": {path: scale}}`: the network's tree with None at these
    leaves, and one float32 scalar for each of them. The gradient of an owner is the sum
    over all its uses. Each block keeps what the rules do not match: its own BatchNorm.

    Args:
      rules: `[(regex, owner), ...]` over path names, the first match wins; the owner is
        `re.sub(regex, owner, name)`, so that it may refer to the regex's groups. In the
        paper's ResNets, blocks from the third on use the second's kernels:
        `(r"(layer\\d)/[2-9]/(conv\\d/kernel)", r"\\1/1/\\2")`.

    Returns:
      A parametrisation that reads no state; `owners(weights)` lists what is shared.

    Raises:
      ValueError: a rule is not a regex or its owner refers to a group that it lacks;
        at `init`, a rule matches nothing, or an owner does not exist, is itself shared
        or differs in shape or dtype from a leaf that uses it.

    Reference:
      EAST: Li et al. 2024 (openreview.net/forum?id=XX9JdOJD8R), from the authors' code.

    >>> p = shared([(r"block[2-9]/kernel", "block1/kernel")])
    >>> kernel = {"kernel": jnp.ones((2, 2))}
    >>> trained = p.init({"block1": kernel, "block2": kernel, "block3": kernel})
    >>> list(trained["scales"]), trees.count(trained)
    (['block2/kernel', 'block3/kernel'], 6)
    >>> trained["scales"]["block2/kernel"] = jnp.float32(0.5)
    >>> p(trained, ())["block2"]["kernel"].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    for pattern, owner in rules:
        try:
            re.sub(pattern, owner, "")  # reads the owner's template too
        except (re.error, IndexError) as error:
            raise ValueError(f"rule {(pattern, owner)} is not valid: {error}") from None
    return Shared(tuple((pattern, owner) for pattern, owner in rules))


def block_rules(*, owners: int = 2) -> list[tuple[str, str]]:
    """Rules for `shared`: later blocks of a stage use the convolutions of an early one.

    The blocks of a stage are numbered from 0, `layer2/5/conv1/kernel`, as in the
    residual networks of `models`. The first `owners` of them own their convolutions;
    the others use those of block `owners - 1`. Normalisation and projections are not
    shared.

    Args:
      owners: number of blocks of a stage that own their weights, at least 1; the first
        block often has other shapes than the others, which then cannot use its.

    Raises:
      ValueError: `owners` is out of range.

    Reference:
      EAST: Li et al. 2024, from the authors' code, where `owners` is 2.

    >>> p = shared(block_rules())
    >>> blocks = {str(i): {"conv1": {"kernel": jnp.ones(2)}} for i in range(12)}
    >>> owners = p.owners({"layer1": blocks})
    >>> owners["layer1/11/conv1/kernel"], len(owners)
    ('layer1/1/conv1/kernel', 10)
    """
    if isinstance(owners, bool) or not isinstance(owners, int) or owners < 1:
        raise ValueError(f"owners must be a whole number >= 1, got {owners!r}")
    first = "".join(rf"(?!{i}/)" for i in range(owners))
    pattern = rf"((?:^|/)layer\d+)/{first}\d+/(conv\d+/kernel)$"
    return [(pattern, rf"\1/{owners - 1}/\2")]


def adjusted_density(density: float, *, weights: Params, trained: Params) -> float:
    """The density of what is trained at which the active weights are as many as ever.

        density * (number of weights) / (number that are trained)

    A network that shares kernels has fewer weights to prune; with this density it keeps
    as many as the network that does not share them would at `density`.

    Args:
      density: share of the network's prunable weights that are active, in [0, 1].
      weights: the prunable leaves of the network, None elsewhere, as
        `pruning.masks.prunable` returns them; shapes will do.
      trained: the prunable leaves of the trained tree.

    Raises:
      ValueError: `density` is outside [0, 1], nothing is trained, or the result is
        above 1: the shared weights are too few.

    Reference:
      EAST: Li et al. 2024, from the authors' code.

    >>> kernel = jnp.ones(6)
    >>> layers = {"block1": kernel, "block2": kernel}
    >>> adjusted_density(0.25, weights=layers, trained={"block1": kernel})
    0.5
    """
    checks.share("density", density)
    whole, part = trees.count(weights), trees.count(trained)
    if not part:
        raise ValueError("trained must hold a prunable leaf")
    adjusted = density * (whole / part)
    if adjusted > 1:
        raise ValueError(
            f"density must be at most {part / whole:.6g}, the share of the weights that"
            f" are trained, got {density}"
        )
    return adjusted


def _fill(tree: Params, leaves: dict[str, Any]) -> Params:
    """A tree with these leaves, by name, in place of its None leaves."""

    def choose(path: Any, leaf: Any) -> Any:
        return leaf if leaf is not None else leaves.get(trees.path_name(path))

    return jax.tree_util.tree_map_with_path(choose, tree, is_leaf=trees.is_none)
