"""Spatial masks: positions that are zero in all channels of a map."""

from collections import OrderedDict
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dst_jax import trees

__all__ = ["apply_spatial", "channel_l1", "random_scores", "spatial_mask"]


def random_scores(
    key: Array, sizes: Mapping[str, tuple[int, int]]
) -> OrderedDict[str, Float[Array, "height width"]]:
    """One random map, average-pooled to the size of every layer.

    The map is uniform in [0, 1] at the largest height and width, so that the layers of
    a network mask the same regions.

    Args:
      key: PRNG key.
      sizes: height and width of every layer's map, by name.

    Returns:
      Scores by name.

    Raises:
      ValueError: `sizes` is empty, or a size is not positive.

    Reference:
      Grimaldi et al. 2023 (arXiv 2309.06626).

    >>> scores = random_scores(jax.random.key(0), {"relu1": (8, 8), "relu2": (4, 4)})
    >>> {name: x.shape for name, x in scores.items()}
    {'relu1': (8, 8), 'relu2': (4, 4)}
    """
    if not sizes or min(min(size) for size in sizes.values()) < 1:
        raise ValueError(f"sizes must be positive and not empty, got {dict(sizes)}")
    height = max(h for h, _ in sizes.values())
    width = max(w for _, w in sizes.values())
    finest = jax.random.uniform(key, (height, width))
    return OrderedDict(
        (name, _averages(height, h) @ finest @ _averages(width, w).T)
        for name, (h, w) in sizes.items()
    )


def channel_l1(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "height width"]:
    """Scores from the maps themselves: l1 norm over channels, mean over the batch.

    >>> channel_l1(jnp.ones((2, 1, 1, 3))).tolist()
    [[3.0]]
    """
    return jnp.abs(x).astype(jnp.float32).sum(-1).mean(0)


def spatial_mask(
    scores: Float[Array, "height width"], sparsity: float | Float[Array, ""]
) -> Bool[Array, "height width"]:
    """A mask that removes `round(sparsity * height * width)` positions of least score.

    The paper raises `sparsity` over training with
    `optax.polynomial_schedule(0, final, power=2, transition_steps=...)`, draws new
    masks on the way and freezes the last one.

    Args:
      scores: importance of every position.
      sparsity: fraction of positions to remove, in [0, 1]; may be traced.

    Returns:
      A mask that is true at the kept positions.

    >>> spatial_mask(jnp.array([[0.1, 0.9], [0.5, 0.3]]), 0.5).tolist()
    [[False, True], [True, False]]
    """
    removed = jnp.round(sparsity * scores.size).astype(jnp.int32)
    kept: Int[Array, ""] = scores.size - removed
    return trees.top_k(scores, kept)


def apply_spatial(
    x: Float[Array, "batch height width channels"], mask: Bool[Array, "height width"]
) -> Float[Array, "batch height width channels"]:
    """The map `x` with all channels zero where the mask is false.

    >>> apply_spatial(jnp.ones((1, 1, 2, 1)), jnp.array([[True, False]])).tolist()
    [[[[1.0], [0.0]]]]
    """
    return jnp.where(mask[None, :, :, None], x, 0)


def _averages(size: int, new_size: int) -> Float[Array, "new_size size"]:
    """The matrix of adaptive average pooling; windows overlap unless sizes divide."""
    start = np.arange(new_size)[:, None] * size // new_size
    stop = -(-(np.arange(new_size)[:, None] + 1) * size // new_size)
    inside = (np.arange(size)[None] >= start) & (np.arange(size)[None] < stop)
    return jnp.asarray(inside / inside.sum(1, keepdims=True), jnp.float32)
