"""What the axes of a kernel mean, and kernels by the path of their leaf."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "COLLECTIONS",
    "Kernel",
    "Kernels",
    "auxiliary",
    "components",
    "is_auxiliary",
]

COLLECTIONS: tuple[str, ...] = ("params", "batch_stats", "weights")
"""Names in front of a path that say what a leaf is for, not to which module it belongs.
"""

auxiliary: tuple[str, ...] = ("distillation", "dyrelu", "gates", "scales")
"""Names under which leaves are never kernels: modules and subtrees that modify maps or
weights. Case and a number at the end do not matter: `DyReLU_0` is one of them."""


@dataclass(frozen=True)
class Kernel:
    """What the axes of a leaf mean. An axis is its number in the leaf, from 0.

    Attributes:
      stack: axes of independent layers: `scan`, `vmap`, batched products.
      window: spatial axes of a convolution.
      inputs: contracted axes.
      outputs: free axes.
      groups: number of feature groups into which the outputs split.
    """

    stack: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        if sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(
                "stack, window, inputs and outputs must name every axis of a leaf "
                f"once, got {self}"
            )
        if self.groups < 1:
            raise ValueError(f"groups must be at least 1, got {self.groups}")

    @property
    def axes(self) -> tuple[int, ...]:
        """All axes in the order of the layout: stack, window, inputs, outputs.

        >>> Kernel(inputs=(1,), outputs=(0,)).axes
        (1, 0)
        """
        return self.stack + self.window + self.inputs + self.outputs

    @property
    def canonical(self) -> bool:
        """Whether the leaf is a single layer with the axes (*window, input, output).

        >>> Kernel(window=(0, 1), inputs=(2,), outputs=(3,)).canonical
        True
        """
        one_each = len(self.inputs) == len(self.outputs) == 1
        return not self.stack and one_each and self.axes == tuple(range(len(self.axes)))


class Kernels(dict[str, Kernel]):
    """Kernels by the path of their leaf, such as `params/conv1/kernel`.

    Args:
      kernels: kernels by path.
      leaves: paths of all leaves of the tree; by default those of the kernels.
      conflicts: by path, the further uses of a kernel that disagree with the first.
      positions: whether every path begins with the position of an argument.

    Attributes:
      leaves: paths of all leaves of the tree, kernels or not.
      conflicts: by path, the further uses of a kernel that disagree with the first.
    """

    def __init__(
        self,
        kernels: Mapping[str, Kernel] | None = None,
        *,
        leaves: Sequence[str] | None = None,
        conflicts: Mapping[str, tuple[Kernel, ...]] | None = None,
        positions: bool = False,
    ):
        super().__init__(kernels or {})
        self.leaves = tuple(self if leaves is None else leaves)
        self.conflicts = dict(conflicts or {})
        self._owners: dict[tuple[str, ...], str] = {}
        for path in sorted(self.leaves, key=lambda path: path not in self):
            parts = components(path)[1:] if positions else components(path)
            self._owners.setdefault(parts, path)
            while parts and parts[0] in COLLECTIONS:
                parts = parts[1:]
                self._owners.setdefault(parts, path)

    def find(self, path: str) -> Kernel | None:
        """The kernel to which a leaf of another tree belongs; None if it is no kernel.

        A leaf belongs to the longest of all `leaves` that its own path ends in. A
        leading collection (`params`, `batch_stats`, `weights`) is ignored, and so is
        the `value` at the end of NNX's paths. What is ignored of a path must not hold
        a name in `auxiliary`: `gates/fc/kernel` does not belong to `fc/kernel`.

        Args:
          path: path of the leaf, as `trees.path_name` writes it.

        >>> kernel = Kernel(inputs=(0,), outputs=(1,))
        >>> leaves = ("params/fc/bias", "params/fc/kernel")
        >>> kernels = Kernels({"params/fc/kernel": kernel}, leaves=leaves)
        >>> kernels.find("0/trace/fc/kernel") == kernel
        True
        >>> kernels.find("0/trace/fc/bias") is None
        True
        """
        owner = self.owner(path)
        return None if owner is None else self.get(owner)

    def owner(self, path: str) -> str | None:
        """The path in `leaves` to which a leaf of another tree belongs, as in `find`.

        >>> Kernels(leaves=["params/fc/bias"]).owner("0/trace/fc/bias")
        'params/fc/bias'
        """
        parts = components(path)
        for i in range(len(parts) + 1):
            if parts[i:] in self._owners:
                return None if is_auxiliary(parts[:i]) else self._owners[parts[i:]]
        return None


def is_auxiliary(parts: Sequence[str]) -> bool:
    """Whether any component of a path is a name in `auxiliary`.

    >>> is_auxiliary(["layer1", "DyReLU_0", "kernel"])
    True
    """
    return any(re.sub(r"_\d+$", "", part).lower() in auxiliary for part in parts)


def components(path: str) -> tuple[str, ...]:
    """The components of a path without the `value` that NNX appends.

    >>> components("fc/kernel/value")
    ('fc', 'kernel')
    """
    parts = tuple(path.split("/")) if path else ()
    return parts[:-1] if len(parts) > 1 and parts[-1] == "value" else parts
