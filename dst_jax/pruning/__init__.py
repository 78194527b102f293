"""Weight sparsity: masks as pytrees, held and applied by Optax transforms."""

from dst_jax.pruning import distributions, masks, scores
from dst_jax.pruning.apply_mask import MaskState, apply_mask, get_mask

__all__ = ["MaskState", "apply_mask", "distributions", "get_mask", "masks", "scores"]
