"""Scores of the importance of every weight: the lowest are pruned first.

Every score is `(params, *, ...) -> scores`, and with the other arguments bound by
`functools.partial` a `dst_jax.typing.Score`. Trees may hold `None`; complex weights are
refused.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax import trees
from dst_jax.kernels import Kernel, of
from dst_jax.typing import Params, Scalar

__all__ = [
    "dst_ee",
    "gradient",
    "grasp",
    "input_norms",
    "magnitude",
    "movement",
    "random",
    "snip",
    "taylor",
    "wanda",
]


_LARGE = 2**16


def magnitude(params: Params) -> Params:
    """`|w|` of every weight, in float32.

    Args:
      params: pytree of float arrays.

    >>> magnitude({"kernel": jnp.array([-2.0, 1.0])})["kernel"].tolist()
    [2.0, 1.0]
    """
    return jax.tree.map(lambda w: jnp.abs(_wide(w)), params)


def random(params: Params, *, key: jax.Array) -> Params:
    """Random numbers, uniform in [0, 1), the same for every sharding.

    Args:
      params: pytree of arrays, of which only the shapes are used.
      key: random key.

    >>> random({"w": jnp.ones(2)}, key=jax.random.key(0))["w"].shape
    (2,)
    """
    leaves, treedef = jax.tree.flatten(params)
    keys = [jax.random.fold_in(key, i) for i in range(len(leaves))]
    drawn = [_uniform(k, w.shape) for k, w in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, drawn)


def gradient(params: Params, *, grads: Params) -> Params:
    """`|g|`, by which RigL grows.

    Args:
      params: pytree of which only the structure is used.
      grads: dense gradients, shaped like `params`.

    >>> gradient({"w": jnp.ones(2)}, grads={"w": jnp.array([-3.0, 1.0])})["w"].tolist()
    [3.0, 1.0]
    """
    return jax.tree.map(lambda _, g: jnp.abs(_wide(g)), params, grads)


def dst_ee(
    params: Params,
    *,
    grads: Params,
    times: Params,
    step: Scalar,
    coverage: Scalar = 1e-3,
    offset: Scalar = 1.0,
) -> Params:
    """`|g| + coverage ln(step) / (times + offset)`: high for what was seldom active.

    Args:
      params: pytree of arrays, of which only the structure is used.
      grads: dense gradients.
      times: at how many mask updates a weight was active, int32 by weight.
      step: number of the optimizer step, at least 1.
      coverage: weight c of the second term; 0 is RigL's score.
      offset: what keeps the second term finite for weights that were never active, > 0.

    Reference:
      DST-EE (arXiv 2211.16667): exploitation and coverage are from its abstract; the
      formula and the size of `coverage`, 1e-4 to 1e-3, are from memory, not verified.

    >>> g, times = {"w": jnp.array([0.5, 0.5])}, {"w": jnp.array([0, 3])}
    >>> found = dst_ee(g, grads=g, times=times, step=1000, coverage=0.1)["w"]
    >>> [round(float(score), 3) for score in found]
    [1.191, 0.673]
    """
    bonus = coverage * jnp.log(_wide(step))

    def score(g: Array, n: Array) -> Array:
        return g + bonus / (n.astype(jnp.float32) + offset)

    return jax.tree.map(score, gradient(params, grads=grads), times)


def snip(params: Params, *, grads: Params) -> Params:
    """`|w * g|`, the sensitivity of the loss to removing a weight.

    Args:
      params: pytree of float arrays.
      grads: gradients of the loss, shaped like `params`.

    Reference:
      Lee et al. 2019 (SNIP, arXiv 1810.02340); its division by the sum does not
      change the order and is left out.

    >>> snip({"w": jnp.array([2.0])}, grads={"w": jnp.array([-3.0])})["w"].tolist()
    [6.0]
    """
    return jax.tree.map(lambda w, g: jnp.abs(_wide(w) * _wide(g)), params, grads)


def taylor(params: Params, *, grads: Params) -> Params:
    """`(w * g)^2`, the squared first-order change of the loss.

    Args:
      params: pytree of float arrays.
      grads: gradients of the loss, shaped like `params`.

    Reference:
      Molchanov et al. 2019 (arXiv 1906.10771).

    >>> taylor({"w": jnp.array([2.0])}, grads={"w": jnp.array([-3.0])})["w"].tolist()
    [36.0]
    """
    return jax.tree.map(lambda w, g: jnp.square(_wide(w) * _wide(g)), params, grads)


def movement(params: Params, *, accumulated: Params) -> Params:
    """`-sum_t w_t * g_t`: high for weights that moved away from 0.

    Args:
      params: pytree of which only the structure is used.
      accumulated: sum of `w * g` over the steps so far, shaped like `params`.

    Reference:
      Sanh et al. 2020 (movement pruning, arXiv 2005.07683).

    >>> moved = {"w": jnp.array([-1.0, 2.0])}  # descent enlarges the first weight
    >>> movement({"w": jnp.ones(2)}, accumulated=moved)["w"].tolist()
    [1.0, -2.0]
    """
    return jax.tree.map(lambda _, a: -_wide(a), params, accumulated)


def grasp(params: Params, *, hessian_gradient: Params) -> Params:
    """`w * (H g)`: what GraSP keeps; it removes the highest of `-w * (H g)`.

    Public code often gets this sign wrong: a weight whose removal lowers the gradient
    norm the least (`-w H g` small) stays. See `at_init.grasp` for `H g`.

    Args:
      params: pytree of float arrays.
      hessian_gradient: Hessian of the loss times its gradient, shaped like `params`.

    Reference:
      Wang et al. 2020 (GraSP, arXiv 2002.07376).

    >>> grasp({"w": jnp.ones(2)}, hessian_gradient={"w": jnp.array([2.0, -1.0])})
    {'w': Array([ 2., -1.], dtype=float32)}
    """
    return jax.tree.map(lambda w, h: _wide(w) * _wide(h), params, hessian_gradient)


def wanda(
    params: Params, *, norms: Params, kernels: Mapping[str, Kernel] | None = None
) -> Params:
    """`|w| * ||x||_2` with the norm of the input channel that the weight reads.

    The paper compares weights of one output: use `structures.constant_fan_in`.

    Args:
      params: prunable kernels.
      norms: tree shaped like `params`, of norms over the stack and input axes of each
        kernel, see `input_norms`.
      kernels: kernels of `params`, as in `masks.prunable`. A leaf that is no kernel has
        the axes (*window, in, out): `{}` for the layers that a method sees.

    Raises:
      ValueError: a shape of norms is not that of the kernel's input axes (grouped
        convolutions have none that fits).

    Reference:
      Sun et al. 2024 (Wanda, arXiv 2306.11695).

    >>> w, x = jnp.array([[1.0, -2.0], [3.0, 1.0]]), jnp.array([10.0, 1.0])
    >>> wanda({"fc": w}, norms={"fc": x})["fc"].tolist()
    [[10.0, 20.0], [3.0, 1.0]]
    """
    found = of(params, kernels) if kernels or kernels is None else {}

    def score(name: str, w: Any, norm: Any) -> Array:
        before = w.ndim - 2
        axes = found[name].stack + found[name].inputs if name in found else (before,)
        shape = tuple(w.shape[axis] for axis in axes if 0 <= axis < w.ndim)
        if w.ndim < 2 or norm.shape != shape:
            raise ValueError(
                f"norms at {name} must have the shape (in,) of the stack and input axes"
                f" of a kernel {w.shape}, {shape}, got {norm.shape}"
            )
        ordered = norm.transpose(np.argsort(axes))
        others = [axis for axis in range(w.ndim) if axis not in axes]
        return jnp.abs(_wide(w)) * jnp.expand_dims(_wide(ordered), others)

    return trees.map_named(score, params, norms)


def input_norms(x: Float[Array, "..."], *, inputs: int = 1) -> Float[Array, "..."]:
    """`||x||_2` of every input channel over a batch: what `wanda` asks for.

    Args:
      x: inputs of a layer, (*batch, *channels).
      inputs: number of input axes of the layer, the last ones of `x`.

    >>> input_norms(jnp.array([[3.0, 0.0], [4.0, 1.0]])).tolist()
    [5.0, 1.0]
    """
    squares = jnp.square(x.astype(jnp.float32))
    return jnp.sqrt(squares.sum(tuple(range(x.ndim - inputs))))


def _uniform(key: jax.Array, shape: tuple[int, ...]) -> Array:
    """Uniform random numbers, the same whichever axes they are drawn with."""
    if math.prod(shape) < _LARGE or len(shape) < 2:
        # XLA:CPU takes longer to compile a draw the more axes it has.
        drawn = (math.prod(shape),)
    else:
        # A flat draw would be made whole on every device that has a part of the leaf.
        drawn = (math.prod(shape[:-2]), *shape[-2:])
    return jax.random.uniform(key, drawn, jnp.float32).reshape(shape)


def _wide(x: Any) -> Array:
    if jnp.iscomplexobj(x):
        raise ValueError(
            f"scores are those of real weights, got {x.dtype}: keep the real and the "
            "imaginary part as two leaves"
        )
    return jnp.asarray(x, jnp.float32)
