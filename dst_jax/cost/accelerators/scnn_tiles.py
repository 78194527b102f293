"""The parts into which SCNN divides operands: tiles, phases of the stride, blocks."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from dst_jax.cost.accelerators.arithmetic import (
    ceil_div,
    exact_sum,
    nonzeros,
    pad_to,
)
from dst_jax.cost.counting.op_profile import Geometry, OpProfile

__all__ = ["Tiles", "matmul_tiles", "planar_tiles", "total_products"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tiles:
    """Nonzeros per contracted index: channel and phase of the stride.

    Attributes:
      activation: nonzeros of every image in every element's tile.
      weight: nonzeros of every block of filters, or of every element's filters.
      products: products of all elements, those outside of the output included.
      halo: number of partial sums that neighbours exchange for one image. Static.
      most: bound of one element's products in one block. Static.
    """

    activation: Int[Array, "images groups pes contracted"]
    weight: Int[Array, "groups blocks contracted"]
    products: Float[Array, ""]
    halo: int = dataclasses.field(metadata={"static": True})
    most: int = dataclasses.field(metadata={"static": True})


def matmul_tiles(profile: OpProfile, pes: int) -> Tiles:
    """Tiles of a matrix product: each element has all inputs and a block of filters.

    >>> x, w = jnp.ones((2, 3), bool), jnp.ones((3, 4), bool)
    >>> tiles = matmul_tiles(OpProfile(x, w, jnp.ones((2, 4), bool), Geometry()), pes=2)
    >>> tiles.weight.tolist()  # (group, element, input): 2 of the 4 filters
    [[[2, 2, 2], [2, 2, 2]]]
    """
    groups, (inputs, filters) = profile.geometry.groups, profile.weight.shape
    share = max(ceil_div(filters // groups, pes), 1)
    weight = profile.weight.reshape(inputs, groups, -1)
    weight = _block_sums(pad_to(weight, 2, pes * share), share)
    rows = profile.activation.reshape(profile.batch, groups, 1, inputs)
    rows, weight = rows.astype(jnp.int32), weight.transpose(1, 2, 0)
    return Tiles(
        activation=rows,
        weight=weight,
        products=total_products(rows, weight, profile),
        halo=0,
        most=max(inputs * share, 1),
    )


def planar_tiles(profile: OpProfile, grid: tuple[int, int], accumulators: int) -> Tiles:
    """Tiles of a convolution: each element has a part of the plane.

    A block of filters fills the accumulators of an element.

    Args:
      profile: profile of a convolution with one or two spatial axes.
      grid: numbers of rows and columns of elements.
      accumulators: number of accumulators of one element.

    Raises:
      ValueError: the operation has three or more spatial axes.

    >>> x, w = jnp.ones((1, 4, 4, 3), bool), jnp.ones((1, 1, 3, 8), bool)
    >>> geometry = Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))
    >>> profile = OpProfile(x, w, jnp.ones((1, 4, 4, 8), bool), geometry)
    >>> tiles = planar_tiles(profile, (2, 2), accumulators=16)
    >>> tiles.activation.shape, tiles.weight.shape  # 4 elements; 2 blocks of 4 filters
    ((1, 1, 4, 3), (1, 2, 3))
    """
    profile = _with_two_axes(profile)
    geometry, (height, width, *_) = profile.geometry, profile.weight.shape
    phases = [_Phases.of(geometry, axis) for axis in (0, 1)]
    out = [ceil_div(profile.output.shape[1 + i], grid[i]) for i in (0, 1)]
    filters = profile.filters // geometry.groups
    block = min(max(accumulators // max(math.prod(out), 1), 1), max(filters, 1))
    inside = [ceil_div(profile.activation.shape[1 + i], grid[i]) for i in (0, 1)]
    largest = math.prod(inside) * height * width * block * profile.weight.shape[2]
    activation = _tile_counts(profile, grid, phases)
    weight = _block_counts(profile, phases, block)
    return Tiles(
        activation=activation,
        weight=weight,
        products=total_products(activation, weight, profile),
        halo=profile.filters * _halo(profile, out),
        most=max(largest, 1),
    )


def total_products(
    activation: Int[Array, "images groups pes contracted"],
    weight: Int[Array, "groups blocks contracted"],
    profile: OpProfile,
) -> Float[Array, ""]:
    """The sum over all elements and blocks of the products of their nonzeros.

    >>> masks = (jnp.ones(shape, bool) for shape in ((2, 3), (3, 4), (2, 4)))
    >>> profile = OpProfile(*masks, Geometry())
    >>> tiles = matmul_tiles(profile, pes=2)
    >>> total_products(tiles.activation, tiles.weight, profile).item()  # 2 * 3 * 4
    24.0
    """
    nonzero = activation.sum((0, 2)).reshape(-1), weight.sum(1).reshape(-1)
    return exact_sum(
        *nonzero,
        most=max(profile.activation.size, 1),
        most_y=max(profile.weight.size, 1),
    )


def _with_two_axes(profile: OpProfile) -> OpProfile:
    """A 1-D convolution as a 2-D one of height 1."""
    axes = profile.activation.ndim - 2
    if axes > 2:
        raise ValueError(f"scnn has planar tiles: at most 2 spatial axes, got {axes}")
    if axes == 2:
        return profile
    g = profile.geometry
    geometry = dataclasses.replace(
        g,
        strides=(1, *g.strides),
        padding=((0, 0), *g.padding),
        lhs_dilation=(1, *g.lhs_dilation),
        rhs_dilation=(1, *g.rhs_dilation),
    )
    return OpProfile(
        activation=profile.activation[:, None],
        weight=profile.weight[None],
        output=profile.output[:, None],
        geometry=geometry,
    )


@dataclasses.dataclass(frozen=True)
class _Phases:
    """Element y meets tap r if (y * lhs_dilation + low) and r * rhs_dilation agree.

    They agree modulo the stride.
    """

    stride: int
    low: int
    lhs_dilation: int
    rhs_dilation: int

    @classmethod
    def of(cls, geometry: Geometry, axis: int) -> "_Phases":
        """The phases of one spatial axis."""
        return cls(
            geometry.strides[axis],
            geometry.padding[axis][0],
            geometry.lhs_dilation[axis],
            geometry.rhs_dilation[axis],
        )

    def elements(self, size: int, tiles: int) -> np.ndarray:
        """(tile, phase, element): indices into the axis, `size` where there is none."""
        tile = np.arange(size) // max(ceil_div(size, tiles), 1)
        phase = (np.arange(size) * self.lhs_dilation + self.low) % self.stride
        return _buckets(tile * self.stride + phase, tiles * self.stride).reshape(
            tiles, self.stride, -1
        )

    def taps(self, size: int) -> np.ndarray:
        """(phase, tap): indices into the window, `size` where there is none."""
        return _buckets(np.arange(size) * self.rhs_dilation % self.stride, self.stride)


def _buckets(keys: np.ndarray, count: int) -> np.ndarray:
    """(bucket, member): the positions of each key, filled up with len(keys)."""
    members = [np.flatnonzero(keys == key) for key in range(count)]
    longest = max((len(m) for m in members), default=0)
    return np.array(
        [np.pad(m, (0, longest - len(m)), constant_values=len(keys)) for m in members]
    ).reshape(count, longest)


def _gather_sum(
    x: Shaped[Array, "..."], index: np.ndarray, axis: int
) -> Int[Array, "..."]:
    """Replaces `axis` by the axes of `index`, the last of which is summed over."""
    taken = jnp.take(x, index.reshape(-1), axis=axis, mode="fill", fill_value=0)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    last = axis + index.ndim - 1
    return taken.reshape(shape).sum(last, dtype=jnp.int32)


def _tile_counts(
    profile: OpProfile, grid: tuple[int, int], phases: list[_Phases]
) -> Int[Array, "images groups pes contracted"]:
    x, groups = profile.activation, profile.geometry.groups
    images, height, width, _ = x.shape
    # (image, column tile, column phase, row tile, row phase, channel)
    x = _gather_sum(x, phases[1].elements(width, grid[1]), 2)
    x = _gather_sum(x, phases[0].elements(height, grid[0]), 1)
    (pe_rows, row_phases), (pe_columns, column_phases) = x.shape[1:3], x.shape[3:5]
    x = x.reshape(*x.shape[:5], groups, -1).transpose(0, 5, 1, 3, 6, 2, 4)
    pes, phase_count = pe_rows * pe_columns, row_phases * column_phases
    return x.reshape(images, groups, pes, x.shape[4] * phase_count)


def _block_counts(
    profile: OpProfile, phases: list[_Phases], block: int
) -> Int[Array, "groups blocks contracted"]:
    groups = profile.geometry.groups
    height, width, channels, _ = profile.weight.shape
    weight = profile.weight.reshape(height, width, channels, groups, -1)
    weight = _block_sums(pad_to(weight, 4, block), block)
    weight = _gather_sum(weight, phases[1].taps(width), 1)
    weight = _gather_sum(weight, phases[0].taps(height), 0)
    # (row phase, column phase, channel, group, block)
    weight = weight.transpose(3, 4, 2, 0, 1)
    return weight.reshape(groups, weight.shape[1], math.prod(weight.shape[2:]))


def _block_sums(
    weight: Bool[Array, "*lead filter"], block: int
) -> Int[Array, "*lead blocks"]:
    return nonzeros(weight.reshape(*weight.shape[:-1], -1, block), -1)


def _halo(profile: OpProfile, tile: list[int]) -> int:
    """Partial sums per filter in the largest of the eight rectangles around a tile.

    A window that begins in one tile ends in the next, so its last outputs belong to
    another element.
    """
    g = profile.geometry
    sides = []
    for i in (0, 1):
        low = g.padding[i][0]
        high = (profile.weight.shape[i] - 1) * g.rhs_dilation[i] - low
        before, after = (ceil_div(max(n, 0), g.strides[i]) for n in (high, low))
        sides.append((before, tile[i], after))
    (above, height, below), (left, width, right) = sides
    corners = [a * b for a in (above, below) for b in (left, right)]
    edges = [height * left, height * right, above * width, below * width]
    return max(corners + edges)
