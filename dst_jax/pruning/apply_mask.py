"""The last link of an Optax chain: pruned weights are exactly 0 after every update."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from dst_jax import trees
from dst_jax.kernels import Kernel
from dst_jax.pruning import explicit_axes, masks, packing, state_sharding
from dst_jax.pruning.held_masks import held, holders, unpacked
from dst_jax.pruning.layer_layout import layout_of
from dst_jax.pruning.mask_state import DenseMaskState, MaskState
from dst_jax.typing import Mask, Params

__all__ = [
    "Effective",
    "apply_mask",
    "fit_mask",
    "get_mask",
    "hold",
    "keeps_dense",
    "sparse_params",
]


_UPDATES = ("the mask", "the updates")


@runtime_checkable
class Effective(Protocol):
    """A method's memory that changes the weights that the network computes with.

    For networks that compute with gated or shrunken weights: a method's memory may be a
    NamedTuple with this function, and `sparse_params` calls it.
    """

    def effective(self, mask: Mask, params: Params) -> Params:
        """The weights the network computes with; 0 where `mask` is false.

        Args:
          mask: mask by layers, as the method sees it.
          params: weights by layers; `None` where `mask` is.
        """
        ...


def apply_mask(
    mask: Mask, *, packed: bool = False, kernels: Mapping[str, Kernel] | None = None
) -> optax.GradientTransformationExtraArgs:
    """Holds pruned weights at exactly 0; put it last in the chain.

    The update `u` of a weight `p` becomes `where(mask, u, -p)`: `p + u` is then `p - p`
    whatever momentum, weight decay or clipping came before.

    Args:
      mask: pytree of bool arrays shaped like the parameters, `None` = never pruned; a
        dict also fits parameters in a `FrozenDict`, a list those in a tuple.
      packed: whether the state holds a bit instead of a byte per weight.
      kernels: kernels of the parameters, as in `masks.prunable`, by which `statistics`
        tells the layers of a stack apart.

    Returns:
      A transform whose state holds the mask; `update` needs `params`.

    Raises:
      ValueError: a leaf of `mask` is not a bool array, or (at `init`) its path names or
        a shape differ from the parameters'.

    >>> tx = optax.chain(optax.sgd(0.1), apply_mask({"w": jnp.array([True, False])}))
    >>> params = {"w": jnp.ones(2)}
    >>> updates, _ = tx.update({"w": jnp.ones(2)}, tx.init(params), params)
    >>> optax.apply_updates(params, updates)["w"].tolist()
    [0.899..., 0.0]
    """
    for leaf in jax.tree.leaves(mask):
        if getattr(leaf, "dtype", None) != jnp.bool_:
            raise ValueError(f"mask must hold bool arrays or None, got {leaf!r}")

    def init(params: optax.Params) -> Any:
        trees.check_arrays("params", params)
        fitting = state_sharding.placed(fit_mask(mask, params), params)
        stored = packing.pack(fitting) if packed else fitting
        return MaskState(stored, layout_of(params, fitting, kernels))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, Any]:
        del extra_args
        if params is None:
            raise ValueError(
                "apply_mask needs params: call update(grads, state, params)"
            )
        return explicit_axes.like_inputs(_held, updates, state, params)

    return optax.GradientTransformationExtraArgs(init, update)


def _held(
    updates: optax.Updates, state: MaskState, params: Params
) -> tuple[optax.Updates, MaskState]:
    """Updates that keep pruned weights at 0, and the state as it is."""
    mask = trees.like(packing.unpack(state.mask), updates, names=_UPDATES)
    params = trees.like(params, updates, names=("params", "the updates"))
    return hold(mask, updates, params), state


def hold(mask: Mask, updates: optax.Updates, params: Params) -> optax.Updates:
    """`where(mask, u, -p)`: updates after which pruned weights are exactly 0.

    Args:
      mask: pytree of bool arrays, `None` = the update as it is.
      updates, params: pytrees in the same containers.

    >>> hold({"w": jnp.array([False])}, {"w": jnp.ones(1)}, {"w": jnp.full(1, 3.0)})
    {'w': Array([-3.], dtype=float32)}
    """
    return jax.tree.map(_hold, mask, updates, params, is_leaf=trees.is_none)


def get_mask(opt_state: optax.OptState) -> Mask:
    """The mask in an optimizer state, at any depth of the chain.

    Args:
      opt_state: state of any chain whose last link holds a mask; those of several
        methods in an `optax.partition` are put together.

    Raises:
      ValueError: there is no mask in it, two of one leaf, or a wrapper or link around
        it, such as `optax.lookahead`, would move pruned weights.

    >>> tx = optax.chain(optax.adam(0.1), apply_mask({"w": jnp.array([True, False])}))
    >>> get_mask(tx.init({"w": jnp.ones(2)}))["w"].tolist()
    [True, False]
    """
    return held(opt_state)[0]


def sparse_params(params: Params, opt_state: optax.OptState) -> Params:
    """The weights the network computes with: `params` under the mask in `opt_state`.

    Call it once after `init`, so that the first forward pass is sparse already; every
    update keeps it so. Methods that train dense weights (`ste`, `auto_sparse`, ...)
    need it at every step: they take gradients at these weights and update `params`.

    Args:
      params: pytree with the path names of the parameters at `init`.
      opt_state: state of any chain whose last link holds a mask, as for `get_mask`.

    Raises:
      ValueError: `get_mask` refuses the state, or the path names differ.

    >>> tx = apply_mask({"w": jnp.array([True, False])})
    >>> sparse_params({"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)}))["w"].tolist()
    [1.0, 0.0]
    """
    mask, _ = held(opt_state)
    for state in holders(opt_state):
        memory = getattr(state, "memory", None)
        if isinstance(memory, Effective):
            params = _effective(params, state.held, memory)
    return masks.apply(mask, params)


def _effective(params: Params, state: MaskState, memory: Effective) -> Params:
    """`params` with the weights that a method makes of those under its mask."""
    mask, layout = unpacked(state), state.layout
    weights = trees.named_leaves(params)
    missing = [name for name in trees.named_leaves(mask) if name not in weights]
    if missing:
        raise ValueError(f"mask is not shaped like the parameters: {missing} differ")
    pruned = trees.map_named(lambda name, _: weights[name], mask)
    layers = memory.effective(layout.apart(mask), layout.apart(pruned))
    seen = trees.named_leaves(layout.together(layers, pruned))
    return trees.map_named(lambda name, w: seen.get(name, w), params)


def keeps_dense(opt_state: optax.OptState) -> bool:
    """Whether an optimizer trains dense weights, so that the network needs others.

    Then gradients are taken at `sparse_params(params, opt_state)`, and these weights
    are evaluated, saved and handed on.

    Args:
      opt_state: state of any chain, or its shapes.

    >>> from dst_jax import pruning
    >>> params = {"kernel": jnp.ones((4, 4))}
    >>> keeps_dense(pruning.ste(optax.sgd(0.1), sparsity=0.5).init(params))
    True
    >>> keeps_dense(pruning.random(optax.sgd(0.1), sparsity=0.5).init(params))
    False
    """
    return bool(trees.instances(opt_state, DenseMaskState))


def fit_mask(mask: Mask, params: Params) -> Mask:
    """A copy of a mask in the containers of the parameters.

    Args:
      mask: pytree of bool arrays, `None` where nothing is pruned.
      params: pytree of arrays.

    Raises:
      ValueError: a path name or a shape differs.

    >>> fit_mask([jnp.array([True])], (jnp.ones(1),))
    (Array([ True], dtype=bool),)
    """
    fitting = trees.like(mask, params, names=("mask", "the parameters"))
    weights = trees.named_leaves(params)
    for name, leaf in trees.named_leaves(fitting).items():
        if name not in weights or leaf.shape != jnp.shape(weights[name]):
            given = jnp.shape(weights[name]) if name in weights else None
            raise ValueError(f"mask at {name} has shape {leaf.shape}, params {given}")
    return jax.tree.map(jnp.copy, fitting)  # survives donated states


def _hold(mask: Any, update: Any, param: Any) -> Any:
    if mask is None or update is None:
        return update
    return jnp.where(mask, update, -param)
