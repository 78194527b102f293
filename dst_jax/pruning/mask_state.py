"""The state of a mask in an optimizer."""

from dataclasses import dataclass, field
from typing import Any

import jax

from dst_jax.pruning.layer_layout import LayerLayout

__all__ = ["DenseMaskState", "MaskState"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MaskState:
    """The mask, in the optimizer state: saved, restored and sharded with it.

    Attributes:
      mask: bool arrays or `packing.PackedLeaf`, `None` where nothing is pruned.
      layout: which arrays hold layers in another form; no part of a checkpoint.
    """

    mask: Any
    layout: LayerLayout = field(default=LayerLayout(), metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DenseMaskState(MaskState):
    """A mask under which the parameters stay dense.

    The network computes with `sparse_params(params, opt_state)`. The type says so, and
    with it the structure of the state: see `keeps_dense`.
    """
