"""State dicts of networks that `torch.nn.utils.prune` has pruned.

PyTorch keeps a pruned tensor in two: `weight_orig`, which is trained, and the mask
`weight_mask` of zeros and ones. The layer computes with their product, `weight`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["Merged", "merged"]

_ORIGINAL, _MASK = "_orig", "_mask"


class Merged(NamedTuple):
    """A state dict whose pruned tensors are whole again.

    Attributes:
      tensors: all tensors; a pruned one is 0 where its mask is.
      masks: bool masks, by the names of their tensors.
      faults: a line for every pair that does not fit together.
    """

    tensors: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    faults: list[str]


def merged(arrays: Mapping[str, np.ndarray]) -> Merged:
    """The tensors of a state dict, `weight_orig * weight_mask` in place of the two.

    Args:
      arrays: tensors by name.

    >>> pruned = {"fc.weight_orig": np.ones(2), "fc.weight_mask": np.array([0.0, 1.0])}
    >>> found = merged(pruned)
    >>> found.tensors["fc.weight"].tolist(), found.masks["fc.weight"].tolist()
    ([0.0, 1.0], [False, True])
    """
    tensors = dict(arrays)
    masks: dict[str, np.ndarray] = {}
    faults: list[str] = []
    for original in [name for name in arrays if name.endswith(_ORIGINAL)]:
        name = original.removesuffix(_ORIGINAL)
        if f"{name}{_MASK}" not in arrays:
            continue
        dense, mask = arrays[original], arrays[f"{name}{_MASK}"]
        if name in arrays:
            faults.append(f"{name} is there both whole and pruned")
        elif dense.shape != mask.shape:
            faults.append(f"{name}{_MASK} is {mask.shape}, must be {dense.shape}")
        elif not np.isin(mask, (0, 1)).all():
            faults.append(f"{name}{_MASK} must be of zeros and ones")
        else:
            masks[name] = mask != 0
            tensors[name] = np.where(masks[name], dense, dense.dtype.type(0))
            del tensors[original], tensors[f"{name}{_MASK}"]
    return Merged(tensors, masks, faults)
