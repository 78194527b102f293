"""The last link of an Optax chain: pruned weights are exactly 0 after every update."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from dst_jax import trees
from dst_jax.pruning import masks, packing
from dst_jax.typing import Mask, Params

__all__ = [
    "DenseMaskState",
    "Effective",
    "MaskState",
    "apply_mask",
    "check_mask",
    "get_mask",
    "hold",
    "keeps_dense",
    "sparse_params",
]


class MaskState(NamedTuple):
    """The mask, in the optimizer state: saved, restored and sharded with it."""

    mask: Any
    """bool arrays or `packing.PackedLeaf`, `None` where nothing is pruned."""


class DenseMaskState(MaskState):
    """A mask under which the parameters stay dense.

    The network computes with `sparse_params(params, opt_state)`. The type says so, and
    with it the structure of the state: see `keeps_dense`.
    """


@runtime_checkable
class Effective(Protocol):
    """A state that makes of the weights others than those under the mask.

    For networks that compute with gated or shrunken weights: a method's memory may be a
    NamedTuple with this function, and `sparse_params` calls it.
    """

    def effective(self, mask: Mask, params: Params) -> Params:
        """The weights the network computes with; 0 where `mask` is false."""
        ...


def apply_mask(
    mask: Mask, *, packed: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Holds pruned weights at exactly 0; put it last in the chain.

    The update `u` of a weight `p` becomes `where(mask, u, -p)`: `p + u` is then `p - p`
    whatever momentum, weight decay or clipping came before.

    Args:
      mask: pytree of bool arrays shaped like the parameters, `None` = never pruned.
      packed: whether the state holds a bit instead of a byte per weight.

    Returns:
      A transform whose state holds the mask; `update` needs `params`.

    Raises:
      ValueError: a leaf of `mask` is not a bool array, or (at `init`) its structure or
        a shape differs from the parameters'.

    >>> tx = optax.chain(optax.sgd(0.1), apply_mask({"w": jnp.array([True, False])}))
    >>> params = {"w": jnp.ones(2)}
    >>> updates, _ = tx.update({"w": jnp.ones(2)}, tx.init(params), params)
    >>> optax.apply_updates(params, updates)["w"].tolist()
    [0.899..., 0.0]
    """
    for leaf in jax.tree.leaves(mask):
        if getattr(leaf, "dtype", None) != jnp.bool_:
            raise ValueError(f"mask must hold bool arrays or None, got {leaf!r}")

    def init(params: optax.Params) -> MaskState:
        check_mask(mask, params)
        copied = jax.tree.map(jnp.copy, mask)  # survives donated states
        return MaskState(packing.pack(copied) if packed else copied)

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MaskState]:
        del extra_args
        if params is None:
            raise ValueError(
                "apply_mask needs params: call update(grads, state, params)"
            )
        return hold(packing.unpack(state.mask), updates, params), state

    return optax.GradientTransformationExtraArgs(init, update)


def hold(mask: Mask, updates: optax.Updates, params: Params) -> optax.Updates:
    """`where(mask, u, -p)`: updates after which pruned weights are exactly 0.

    >>> hold({"w": jnp.array([False])}, {"w": jnp.ones(1)}, {"w": jnp.full(1, 3.0)})
    {'w': Array([-3.], dtype=float32)}
    """
    return jax.tree.map(_hold, mask, updates, params, is_leaf=trees.is_none)


def get_mask(opt_state: optax.OptState) -> Mask:
    """The mask in an optimizer state, however deep in the chain.

    Raises:
      ValueError: there is no mask in it, or more than one.

    >>> tx = optax.chain(optax.adam(0.1), apply_mask({"w": jnp.array([True, False])}))
    >>> get_mask(tx.init({"w": jnp.ones(2)}))["w"].tolist()
    [True, False]
    """
    found = _find(opt_state, MaskState)
    if len(found) != 1:
        raise ValueError(f"opt_state must hold one mask, found {len(found)}")
    return jax.tree.map(
        lambda m: None if _is_elsewhere(m) else m,
        packing.unpack(found[0].mask),
        is_leaf=_is_elsewhere,
    )


def sparse_params(params: Params, opt_state: optax.OptState) -> Params:
    """The weights the network computes with: `params` under the mask in `opt_state`.

    Call it once after `init`, so that the first forward pass is sparse already; every
    update keeps it so. Methods that train dense weights (`ste`, `auto_sparse`, ...)
    need it at every step: they take gradients at these weights and update `params`.

    >>> tx = apply_mask({"w": jnp.array([True, False])})
    >>> sparse_params({"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)}))["w"].tolist()
    [1.0, 0.0]
    """
    mask = get_mask(opt_state)
    found = _find(opt_state, Effective)
    return found[0].effective(mask, params) if found else masks.apply(mask, params)


def keeps_dense(opt_state: optax.OptState) -> bool:
    """Whether an optimizer trains dense weights, so that the network needs others.

    Then gradients are taken at `sparse_params(params, opt_state)`, and these weights
    are what is evaluated, saved and handed on. Also true of the state's shapes alone.

    >>> from dst_jax import pruning
    >>> params = {"kernel": jnp.ones((4, 4))}
    >>> keeps_dense(pruning.ste(optax.sgd(0.1), sparsity=0.5).init(params))
    True
    >>> keeps_dense(pruning.random(optax.sgd(0.1), sparsity=0.5).init(params))
    False
    """
    return bool(_find(opt_state, DenseMaskState))


def check_mask(mask: Mask, params: Params) -> None:
    """Refuses a mask that is not shaped like the parameters, naming the leaf."""
    masked, given = _shapes(mask), _shapes(params)
    if masked.keys() != given.keys():
        differing = sorted(masked.keys() ^ given.keys())
        raise ValueError(f"mask is not shaped like the parameters: {differing} differ")
    for name, shape in masked.items():
        if shape is not None and shape != given[name]:
            raise ValueError(f"mask at {name} has shape {shape}, params {given[name]}")


def _hold(mask: Any, update: Any, param: Any) -> Any:
    if mask is None or update is None:
        return update
    return jnp.where(mask, update, -param)


def _shapes(tree: Any) -> dict[str, tuple[int, ...] | None]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=trees.is_none)
    return {
        trees.path_name(path): (None if leaf is None else jnp.shape(leaf))
        for path, leaf in leaves
    }


def _find(opt_state: Any, kind: type) -> list[Any]:
    def is_kind(x: object) -> bool:
        return isinstance(x, kind)

    return [s for s in jax.tree.leaves(opt_state, is_leaf=is_kind) if is_kind(s)]


def _is_elsewhere(x: object) -> bool:
    """Whether another part of a `multi_transform` has this leaf."""
    return isinstance(x, optax.MaskedNode)
