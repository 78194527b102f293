"""Masks of the operands of every layer, on several images, one bit an element."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, UInt8

from dst_jax.cost.counting.op_counts import OpCounts, accumulate
from dst_jax.cost.counting.op_profile import Geometry, OpProfile

__all__ = ["MaskTraces", "OperandMasks", "PackedMask", "stack"]


class PackedMask(NamedTuple):
    """A mask with eight elements in a byte.

    Attributes:
      bits: packed rows, uint8 (rows, bytes): element i of a row, in row-major order, is
        bit i % 8 of byte i // 8, the lowest bit first; the last byte is filled with 0.
      shape: shape of a row.
    """

    bits: UInt8[np.ndarray, "rows bytes"]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "rows *shape"]) -> "PackedMask":
        """The packed rows of a mask, bool (rows, *shape).

        >>> PackedMask.of(np.array([[True, False, True]])).bits
        array([[5]], dtype=uint8)
        """
        flat = np.asarray(mask, bool).reshape(len(mask), -1)
        bits = np.packbits(flat, axis=1, bitorder="little")
        return cls(bits, tuple(map(int, mask.shape[1:])))

    @property
    def size(self) -> int:
        """The number of elements in a row.

        >>> PackedMask.of(np.ones((3, 2, 2), bool)).size
        4
        """
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nonzeros(self) -> int:
        """The number of elements that are True, over all rows.

        >>> PackedMask.of(np.eye(3, dtype=bool)).nonzeros
        3
        """
        return int(np.bitwise_count(self.bits).sum(dtype=np.int64))

    @property
    def mask(self) -> Bool[np.ndarray, "rows *shape"]:
        """The mask itself.

        >>> PackedMask.of(np.eye(2, dtype=bool)).mask
        array([[ True, False],
               [False,  True]])
        """
        return self.rows(slice(None))

    def rows(self, chosen: slice) -> Bool[np.ndarray, "rows *shape"]:
        """The mask of some rows.

        Args:
          chosen: the rows.

        >>> PackedMask.of(np.eye(3, dtype=bool)).rows(slice(1, 2))
        array([[False,  True, False]])
        """
        bits = self.bits[chosen]
        flat = np.unpackbits(bits, axis=1, count=self.size, bitorder="little")
        return flat.astype(bool).reshape(len(bits), *self.shape)


@dataclasses.dataclass(frozen=True)
class OperandMasks:
    """The nonzero elements of one layer's operands and output on several images.

    A row of each mask is that of `cost.OpProfile` for one image: with `batch` the rows
    of the layer's matrix, 1 for a convolution.

    Attributes:
      activation: mask of what enters the multipliers as activation, one row an image,
        each (batch, *spatial, channel).
      weight: mask of the other operand, (*tap, channel / groups, filter): one row in
        all, or one an image where it depends on data (`geometry.dynamic`: attention).
      output: mask of what the layer returns before any activation function, one row an
        image, each (batch, *out, filter).
      geometry: movement of the window, groups.
      counts: multiplications over all images, in Python integers.
    """

    activation: PackedMask
    weight: PackedMask
    output: PackedMask
    geometry: Geometry
    counts: OpCounts

    @property
    def is_convolution(self) -> bool:
        """Whether the layer has a window; otherwise it is a matrix product.

        >>> x, w = np.ones((1, 2), bool), np.ones((2, 3), bool)
        >>> traces = stack([{"fc": OpProfile(x, w, x @ w, Geometry())}])
        >>> traces.layers["fc"].is_convolution
        False
        """
        return len(self.activation.shape) > 2

    def profile(self, image: int) -> OpProfile:
        """The masks of one image, as `cost.profile` gave them.

        Args:
          image: index of the image.

        Raises:
          IndexError: there is no such image.

        >>> x, w = np.ones((1, 2), bool), np.ones((2, 3), bool)
        >>> traces = stack([{"fc": OpProfile(x, w, x @ w, Geometry())}])
        >>> traces.layers["fc"].profile(0).weight.shape
        (2, 3)
        """
        images = len(self.activation.bits)
        if not 0 <= image < images:
            raise IndexError(f"image must be in [0, {images}), got {image}")
        row = slice(image, image + 1)
        weight = row if self.geometry.dynamic else slice(0, 1)
        return OpProfile(
            activation=self.activation.rows(row)[0],
            weight=self.weight.rows(weight)[0],
            output=self.output.rows(row)[0],
            geometry=self.geometry,
        )


@dataclasses.dataclass(frozen=True)
class MaskTraces:
    """The masks of every layer on the same images.

    Attributes:
      layers: masks by layer, in order of execution.
      images: number of images.
      info: what they are masks of: texts and numbers, such as the run and the stage.
    """

    layers: Mapping[str, OperandMasks]
    images: int
    info: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def profiles(self, image: int) -> dict[str, OpProfile]:
        """The profiles of one image, for `cost.estimate` and the like.

        Args:
          image: index of the image.

        Raises:
          IndexError: there is no such image.

        >>> x, w = np.ones((1, 2), bool), np.ones((2, 3), bool)
        >>> traces = stack([{"fc": OpProfile(x, w, x @ w, Geometry())}])
        >>> list(traces.profiles(0))
        ['fc']
        """
        return {name: layer.profile(image) for name, layer in self.layers.items()}


def stack(
    profiles: Sequence[Mapping[str, OpProfile]],
    *,
    info: Mapping[str, Any] | None = None,
) -> MaskTraces:
    """The masks of several images together.

    Args:
      profiles: what `cost.profile` returns for each image, a batch of one.
      info: texts and numbers that say what they are masks of.

    Raises:
      ValueError: no image, or images whose layers, shapes or weights differ.

    >>> x, w = np.ones((1, 2), bool), np.eye(2, dtype=bool)
    >>> traces = stack(3 * [{"fc": OpProfile(x, w, x, Geometry())}])
    >>> traces.images, traces.layers["fc"].counts.effectual
    (3, 6)
    """
    if not profiles:
        raise ValueError("profiles is empty: at least one image is needed")
    first = profiles[0]
    for i, found in enumerate(profiles):
        if list(found) != list(first):
            differing = sorted(found.keys() ^ first.keys())
            raise ValueError(f"profiles of images 0 and {i} differ in {differing}")
    layers = {name: _stacked(name, [p[name] for p in profiles]) for name in first}
    counts = accumulate(map(_counts, profiles))
    layers = {
        name: dataclasses.replace(layer, counts=counts[name])
        for name, layer in layers.items()
    }
    return MaskTraces(layers, len(profiles), dict(info or {}))


@jax.jit
def _counts(profiles: Mapping[str, OpProfile]) -> dict[str, OpCounts]:
    return {name: profile.counts for name, profile in profiles.items()}


def _stacked(name: str, images: list[OpProfile]) -> OperandMasks:
    geometry = images[0].geometry
    weights = [np.asarray(image.weight) for image in images]
    for i, image in enumerate(images):
        if image.geometry != geometry:
            raise ValueError(f"profiles of images 0 and {i} move {name} differently")
        if not geometry.dynamic and not np.array_equal(weights[i], weights[0]):
            raise ValueError(
                f"profiles of images 0 and {i} have other weights of {name}: stack"
                " images of one network"
            )
    return OperandMasks(
        activation=_rows(name, [np.asarray(image.activation) for image in images]),
        weight=_rows(name, weights if geometry.dynamic else weights[:1]),
        output=_rows(name, [np.asarray(image.output) for image in images]),
        geometry=geometry,
        counts=OpCounts(0, 0, 0, 0, 0),  # of all layers together, in `stack`
    )


def _rows(name: str, masks: list[np.ndarray]) -> PackedMask:
    shapes = {mask.shape for mask in masks}
    if len(shapes) > 1:
        raise ValueError(f"profiles of {name} have several shapes: {sorted(shapes)}")
    return PackedMask.of(np.stack(masks))
