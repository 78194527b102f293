"""AutoSparse: a learned threshold for each layer, and annealed gradients below it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dst_jax import checks, trees
from dst_jax.pruning import schedules
from dst_jax.pruning.auxiliary_params import Learned, descend, learned
from dst_jax.pruning.description import method
from dst_jax.pruning.protocol import Method, Step
from dst_jax.typing import Mask, Params

__all__ = ["Thresholds", "auto_sparse", "gradient_annealing"]

_SGD = optax.sgd(0.1)


class Thresholds(NamedTuple):
    """The learned `s` of every layer, float32 scalars of thresholds `sigmoid(s)`."""

    learned: Learned

    def effective(self, mask: Mask, params: Params) -> Params:
        """`sign(w) max(|w| - sigmoid(s), 0)`, 0 where `mask` is false."""

        def shrink(m: Any, w: Any, s: Any) -> Any:
            if m is None:
                return w
            size = jnp.maximum(jnp.abs(w) - _level(s, w), 0)
            return jnp.where(m, jnp.sign(w) * size, 0).astype(w.dtype)

        return jax.tree.map(
            shrink, mask, params, self.learned.value, is_leaf=trees.is_none
        )


@method(lengths={"end": 0.9}, ends=["end"])
def auto_sparse(
    *,
    end: Any,
    alpha: Any = 0.75,
    initial: Any = -5.0,
    thresholds: optax.GradientTransformation = _SGD,
) -> Method:
    """AutoSparse: learns a threshold per layer, below which gradients are annealed.

        network:   v = sign(w) max(|w| - sigmoid(s), 0)
        backward:  dv/dw = r,  dv/ds = -sign(w) sigmoid'(s) r
                   r = 1 where |w| > sigmoid(s), alpha_t elsewhere

    The sparsity results from training, steered by `alpha` and the learning rate of `s`.
    The parameters stay dense: take gradients at `sparse_params(params, opt_state)`.
    After `end` masks and thresholds stay as they are, and pruned weights get no
    gradient.

    No official code was found; the formulas agree with third-party code. `alpha`,
    `initial` and that the mask is frozen late in training are from memory of the paper.
    Here `s` has an optimizer of its own, whose default is an assumption. Weight decay
    in it draws `s` to 0, which is a threshold of 0.5, and so raises the sparsity: a
    small MLP lost hardly a weight without it, and most weights at a decay of 0.01.

    Args:
      end: last step at which masks change; `alpha_t` anneals up to it.
      alpha: `alpha_0`, in [0, 1].
      initial: initial `s`; -5 is a threshold of 0.0067.
      thresholds: optimizer of `s`.

    Reference:
      AutoSparse (arXiv 2304.06941); the annealing as in third-party
      code (PQuant).

    >>> tx = auto_sparse(optax.sgd(0.1), end=50_000)
    """
    anneal = gradient_annealing(alpha, end=end)

    def slopes(step: Step) -> Params:
        below = jnp.where(step.step <= end, anneal(step.step), 0)
        return jax.tree.map(
            lambda m, g: jnp.where(m, g, below * g).astype(g.dtype),
            step.mask,
            step.grads,
        )

    def observe(step: Step) -> Thresholds:
        def slope(w: Array, g: Array, s: Array) -> Array:
            level = jax.nn.sigmoid(s)
            pulled = jnp.sum(jnp.sign(w) * g, dtype=jnp.float32)
            return -level * (1 - level) * pulled

        now = step.memory.learned
        grads = jax.tree.map(slope, step.params, slopes(step), now.value)
        after = descend(thresholds, now, grads)
        frozen = step.step > end
        return Thresholds(
            jax.tree.map(lambda old, new: jnp.where(frozen, old, new), now, after)
        )

    def refresh(step: Step) -> tuple[Mask, Any]:
        return _above(step.params, step.memory), step.memory

    def start(params: Params, mask: Mask) -> Thresholds:
        del mask
        value = jax.tree.map(lambda _: jnp.array(initial, jnp.float32), params)
        return Thresholds(learned(thresholds, value))

    return Method(
        first=lambda params, key: _above(params, start(params, None)),
        refresh=refresh,
        due=schedules.every(1, end=end, at_end=True),
        memory=start,
        observe=observe,
        gradients=slopes,
        holds=False,
    )


def gradient_annealing(alpha: Any, *, end: Any) -> optax.Schedule:
    """A schedule of the factor on the gradient of a pruned weight.

        alpha max((1 + cos(pi p)) / 2, 1 - sigmoid(12 p - 6)),  p = min(t / end, 1)

    Args:
      alpha: factor at step 0, in [0, 1].
      end: last step of the annealing, at least 1.

    Raises:
      ValueError: `alpha` is outside [0, 1], or `end` below 1.

    Reference:
      AutoSparse (arXiv 2304.06941), as in third-party code (PQuant).

    >>> [round(float(gradient_annealing(1.0, end=4)(t)), 4) for t in range(5)]
    [1.0, 0.9526, 0.5, 0.1464, 0.0025]
    """
    checks.share("alpha", alpha)
    checks.at_least("end", end, 1)
    cosine = schedules.cosine(1.0, 0.0, end=end)
    progress = schedules.linear(0.0, 1.0, end=end)

    def schedule(count: Any) -> Float[Array, ""]:
        late = 1 - jax.nn.sigmoid(12 * progress(count) - 6)
        return jnp.asarray(alpha, jnp.float32) * jnp.maximum(cosine(count), late)

    return schedule


def _above(params: Params, memory: Thresholds) -> Mask:
    return jax.tree.map(
        lambda w, s: jnp.abs(w) > _level(s, w), params, memory.learned.value
    )


def _level(s: Any, w: Any) -> Array:
    """The threshold, compared in the weights' own precision."""
    return jax.nn.sigmoid(jnp.asarray(s)).astype(w.dtype)
