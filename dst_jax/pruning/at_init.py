"""Masks before training: from one batch (SNIP, GraSP) or from no data (SynFlow).

Each returns a mask for `apply_mask`, or as the first mask of any method (`mask=`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax import checks, trees
from dst_jax.kernels import Kernel
from dst_jax.pruning import masks, scores
from dst_jax.pruning.distributions import Distribution
from dst_jax.pruning.integer_shares import budget
from dst_jax.pruning.selection import JOINT, top_k
from dst_jax.pruning.updates import dense_mask, keep
from dst_jax.typing import Mask, Params, Rules

__all__ = ["grasp", "snip", "synflow"]

Loss = Callable[[Params, Any], Float[Array, ""]]
"""`(params, batch) -> scalar`."""


def snip(
    params: Params,
    loss_fn: Loss,
    batch: Any,
    *,
    sparsity: Any,
    distribution: str | Distribution = "global",
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
) -> Mask:
    """A mask that keeps the weights to whose removal the loss is most sensitive.

    Args:
      params: weights at initialisation.
      loss_fn: `(params, batch) -> scalar`.
      batch: examples, about ten of each class.
      sparsity: sparsity of the prunable weights, in [0, 1).
      distribution: distribution between layers; the paper's is "global".
      rules: rules for the leaves that are prunable, as in `masks.prunable`.
      kernels: kernels of `params`, as in `masks.prunable`.

    Reference:
      Lee et al. 2019 (arXiv 1810.02340).

    >>> def loss(params, x):
    ...     return jnp.sum(x @ params["w"])
    >>> params = {"w": jnp.array([[1.0, 1.0], [1.0, -9.0]])}
    >>> snip(params, loss, jnp.array([[5.0, 1.0]]), sparsity=0.75)["w"].tolist()
    [[False, False], [False, True]]
    """
    checks.fraction("sparsity", sparsity)
    layers, layout = masks.prunable_layers(params, rules, kernels=kernels)
    grads = layout.apart(jax.grad(loss_fn)(params, batch))
    importance = scores.snip(layers, grads=trees.only(layers, grads))
    return masks.assemble(keep(importance, sparsity, distribution), layout, params)


def grasp(
    params: Params,
    loss_fn: Loss,
    batch: Any,
    *,
    sparsity: Any,
    distribution: str | Distribution = "global",
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
) -> Mask:
    """A mask that keeps the gradient flowing: the highest `-w * (H g)` are removed.

    Args:
      params: weights at initialisation.
      loss_fn: `(params, batch) -> scalar`; the authors divide logits by 200.
      batch: examples, about 25 of each class; the authors take `g` and `H` from two
        halves, for which `loss_fn` may average.
      sparsity: sparsity of the prunable weights, in [0, 1).
      distribution: distribution between layers; the paper's is "global".
      rules: rules for the leaves that are prunable, as in `masks.prunable`.
      kernels: kernels of `params`, as in `masks.prunable`.

    Reference:
      Wang et al. 2020 (arXiv 2002.07376).

    >>> def loss(params, x):
    ...     return jnp.sum(x * params["w"] ** 3)
    >>> params = {"w": jnp.array([[1.0, -1.0]])}  # w H g = 18 w^4 x^2: the larger stays
    >>> grasp(params, loss, jnp.array([[1.0, 2.0]]), sparsity=0.5)["w"].tolist()
    [[False, True]]
    """
    checks.fraction("sparsity", sparsity)
    layers, layout = masks.prunable_layers(params, rules, kernels=kernels)
    prunable = layout.together(layers, params)

    def gradient(part: Params) -> Params:
        return jax.grad(lambda p: loss_fn(trees.merge(p, params), batch))(part)

    _, product = jax.jvp(gradient, (prunable,), (gradient(prunable),))
    importance = scores.grasp(layers, hessian_gradient=layout.apart(product))
    return masks.assemble(keep(importance, sparsity, distribution), layout, params)


def synflow(
    params: Params,
    loss_fn: Loss,
    batch: Any,
    *,
    sparsity: float,
    rounds: int = 100,
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
) -> Mask:
    """A mask that keeps the weights on strong paths, found in rounds.

        score = |w * dR/dw|,  R = sum of outputs with |w| for all w and inputs of 1,
        round k keeps a density of (1 - sparsity)^(k / rounds)

    `R` grows with depth past float32. Being linear in the input, it is computed as
    `c R(c x)` with `c` lowered until all scores are finite: their order is the same.

    Args:
      params: weights at initialisation; absolute values take the place of all leaves.
      loss_fn: `(params, inputs) -> scalar`, the sum of the network's outputs in
        evaluation mode, with buffers non-negative.
      batch: inputs of ones, float arrays.
      sparsity: sparsity of all prunable weights together, in [0, 1).
      rounds: number of steps of the exponential schedule; that the paper takes 100 is
        from memory.
      rules: rules for the leaves that are prunable, as in `masks.prunable`.
      kernels: kernels of `params`, as in `masks.prunable`.

    Raises:
      ValueError: an option is out of range, or scores overflow at any scale.

    Reference:
      Tanaka et al. 2020 (arXiv 2006.05467).

    >>> def total(params, x):
    ...     return jnp.sum(x @ params["a"] @ params["b"])
    >>> params = {"a": jnp.array([[9.0, -1.0]]), "b": jnp.array([[-1.0], [2.0]])}
    >>> synflow(params, total, jnp.ones((1, 1)), sparsity=0.5)["b"].tolist()
    [[True], [False]]
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("rounds", rounds, 1)
    absolute = jax.tree.map(jnp.abs, params)
    layers, layout = masks.prunable_layers(absolute, rules, kernels=kernels)
    mask, total = dense_mask(layers), trees.count(layers)

    @jax.jit
    def prune(mask: Mask, kept: Array) -> tuple[Mask, Array]:
        left = layout.together(masks.apply(mask, layers), absolute)
        flow, finite = _flow(left, absolute, loss_fn, batch)
        return top_k(layout.apart(flow), {JOINT: kept}, among=mask), finite

    for k in range(1, rounds + 1):
        density = (1 - sparsity) ** (k / rounds)
        mask, finite = prune(mask, jnp.int32(budget(total, 1 - density)))
        if not finite:
            raise ValueError(
                "synaptic flow overflows float32 at any scale of the input"
            )
    return masks.assemble(mask, layout, absolute)


def _flow(
    prunable: Params, params: Params, loss_fn: Loss, batch: Any
) -> tuple[Params, Array]:
    """`w * dR/dw` up to a common factor, and whether all are finite."""

    def scaled(part: Params, c: Array) -> Array:
        inputs = jax.tree.map(lambda x: x * c.astype(x.dtype), batch)
        return loss_fn(trees.merge(part, params), inputs) * c

    def flow(c: Array) -> Params:
        grads = jax.grad(scaled)(prunable, c)
        return jax.tree.map(lambda w, g: jnp.abs(w * g), prunable, grads)

    def finite(tree: Params) -> Array:
        return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()

    def too_large(state: tuple[Array, Params]) -> Array:
        c, found = state
        return ~finite(found) & (c > 1e-36)

    def lower(state: tuple[Array, Params]) -> tuple[Array, Params]:
        c = state[0] * 1e-4
        return c, flow(c)

    one = jnp.float32(1)
    _, found = jax.lax.while_loop(too_large, lower, (one, flow(one)))
    return found, finite(found)
