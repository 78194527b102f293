"""A layer as a loop nest with measured densities, as mappers of accelerators see it.

    Outputs[n, g, m, p, q] += Inputs[n, g, c, p * stride + r * dilation, ...]
                              * Weights[g, c, m, r, s]

The bounds multiply to the dense products that `cost.count` counts, padding included.
The tensor Inputs of such a nest is what some window reads: stored elements, padding,
and the zeros that a transposed convolution inserts; its density is measured on that.
"""

import math
from typing import NamedTuple

import numpy as np

from dst_jax.cost.workloads.operand_masks import OperandMasks

__all__ = ["LoopNest", "SpatialLoop", "loop_nest", "unsuitable"]

# By the number of spatial axes: window and output dimension of each, and its name.
_NAMES: dict[int, tuple[tuple[str, str, str], ...]] = {
    0: (),
    1: (("R", "P", "W"),),
    2: (("S", "Q", "H"), ("R", "P", "W")),
    3: (("T", "U", "D"), ("S", "Q", "H"), ("R", "P", "W")),
}


class SpatialLoop(NamedTuple):
    """The loops over one spatial axis.

    Attributes:
      window, output: dimensions of the position in the window and of the output.
      name: letter of the axis: W, H or D, the width being the last axis.
      stride, dilation: step of the output and of the window in Inputs.
    """

    window: str
    output: str
    name: str
    stride: int
    dilation: int


class LoopNest(NamedTuple):
    """The loops of one layer, and how dense its tensors are.

    Attributes:
      bounds: bound of each dimension: G groups (if there are several), C channels and M
        filters of a group, N rows of a matrix or images, then window and output.
      spatial: loops over the spatial axes, in their order.
      densities: share of nonzero elements of Inputs, Weights and Outputs, in [0, 1],
        over all images.
    """

    bounds: dict[str, int]
    spatial: tuple[SpatialLoop, ...]
    densities: dict[str, float]

    @property
    def products(self) -> int:
        """The number of dense products: the product of all bounds.

        >>> LoopNest({"C": 3, "M": 4, "N": 2}, (), {}).products
        24
        """
        return math.prod(self.bounds.values())

    @property
    def tensors(self) -> dict[str, tuple[str, ...]]:
        """The dimensions of every tensor; those of Inputs before the spatial ones.

        >>> LoopNest({"C": 3, "M": 4, "N": 2}, (), {}).tensors["Weights"]
        ('C', 'M')
        """
        group = ("G",) if "G" in self.bounds else ()
        return {
            "Weights": (*group, "C", "M", *(axis.window for axis in self.spatial)),
            "Inputs": ("N", *group, "C"),
            "Outputs": ("N", *group, "M", *(axis.output for axis in self.spatial)),
        }


def unsuitable(layer: OperandMasks) -> str | None:
    """Why a layer has no loop nest, or None if it has one.

    Args:
      layer: masks of the layer.

    >>> from dst_jax.cost.counting.op_profile import Geometry, OpProfile
    >>> from dst_jax.cost.workloads.operand_masks import stack
    >>> x, w = np.ones((1, 0), bool), np.ones((0, 3), bool)
    >>> traces = stack([{"fc": OpProfile(x, w, np.ones((1, 3), bool), Geometry())}])
    >>> unsuitable(traces.layers["fc"])
    'it multiplies nothing: a dimension is 0'
    """
    axes = len(layer.geometry.strides)
    if axes not in _NAMES:
        return f"its window has {axes} spatial axes, and there are names for 3"
    if 0 in (*layer.activation.shape, *layer.weight.shape, *layer.output.shape):
        return "it multiplies nothing: a dimension is 0"
    return None


def loop_nest(layer: OperandMasks) -> LoopNest:
    """The loop nest of a layer for one image, with densities over all images.

    Args:
      layer: masks of the layer.

    Raises:
      ValueError: there is none; `unsuitable` says why.

    >>> from dst_jax.cost.counting.op_profile import Geometry, OpProfile
    >>> from dst_jax.cost.workloads.operand_masks import stack
    >>> x, w = np.array([[True, False]]), np.ones((2, 3), bool)
    >>> traces = stack([{"fc": OpProfile(x, w, x @ w, Geometry())}])
    >>> nest = loop_nest(traces.layers["fc"])
    >>> nest.bounds, nest.densities["Inputs"]
    ({'C': 2, 'M': 3, 'N': 1}, 0.5)
    """
    why = unsuitable(layer)
    if why is not None:
        raise ValueError(f"the layer has no loop nest: {why}")
    geometry = layer.geometry
    *taps, channels, filters = layer.weight.shape
    batch, *out = layer.output.shape[:-1]
    spatial = tuple(
        SpatialLoop(window, output, name, stride, dilation)
        for (window, output, name), stride, dilation in zip(
            _NAMES[len(taps)], geometry.strides, geometry.rhs_dilation, strict=True
        )
    )
    groups = {"G": geometry.groups} if geometry.groups > 1 else {}
    bounds = groups | {"C": channels, "M": filters // geometry.groups, "N": batch}
    bounds |= {axis.window: n for axis, n in zip(spatial, taps, strict=True)}
    bounds |= {axis.output: n for axis, n in zip(spatial, out, strict=True)}
    densities = {
        "Weights": _density(
            layer.weight.nonzeros, layer.weight.bits, layer.weight.size
        ),
        "Inputs": _input_density(layer, spatial, bounds),
        "Outputs": _density(
            layer.output.nonzeros, layer.output.bits, layer.output.size
        ),
    }
    return LoopNest(bounds, spatial, densities)


def _density(nonzeros: int, rows: np.ndarray, size: int) -> float:
    return nonzeros / (len(rows) * size)


def _input_density(
    layer: OperandMasks, spatial: tuple[SpatialLoop, ...], bounds: dict[str, int]
) -> float:
    """Nonzeros among the elements that some window reads."""
    batch, *stored, channels = layer.activation.shape
    geometry = layer.geometry
    read = [_places(axis, bounds) for axis in spatial]
    kept = [
        [(p - low) // step for p in places if p in range(low, low + size * step, step)]
        for places, size, (low, _), step in zip(
            read, stored, geometry.padding, geometry.lhs_dilation, strict=True
        )
    ]
    chosen = np.ix_(range(batch), *kept, range(channels))
    images = len(layer.activation.bits)
    nonzeros = sum(
        int(np.count_nonzero(layer.activation.rows(slice(i, i + 1))[0][chosen]))
        for i in range(images)
    )
    return nonzeros / (images * batch * math.prod(map(len, read)) * channels)


def _places(axis: SpatialLoop, bounds: dict[str, int]) -> list[int]:
    """The places on one axis of Inputs that some window reads."""
    starts = range(0, bounds[axis.output] * axis.stride, axis.stride)
    taps = range(0, bounds[axis.window] * axis.dilation, axis.dilation)
    return sorted({start + tap for start in starts for tap in taps})
