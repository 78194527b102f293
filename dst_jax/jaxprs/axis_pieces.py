"""What every axis of a value is made of.

An axis is a sequence of pieces, the slowest first, whose sizes multiply to its size. A
piece says from which axes of one array, a leaf, it comes: from none where the value
does not depend on the leaf along it (broadcasting), from several where their parts
cannot be told apart.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = [
    "Axes",
    "Piece",
    "broadcast",
    "extent",
    "missing",
    "origins",
    "resized",
    "single",
    "united",
    "whole",
]


class Piece(NamedTuple):
    """A factor of an axis, and the axes of the leaf that it comes from."""

    origin: frozenset[int]
    size: int


Axes = tuple[tuple[Piece, ...], ...]


def whole(shape: Sequence[int]) -> Axes:
    """The axes of a leaf itself.

    >>> whole((2, 3))[1]
    (Piece(origin=frozenset({1}), size=3),)
    """
    return tuple((Piece(frozenset({i}), size),) for i, size in enumerate(shape))


def missing(shape: Sequence[int]) -> Axes:
    """Axes along which a value does not depend on the leaf.

    >>> missing((1, 3))
    ((), (Piece(origin=frozenset(), size=3),))
    """
    return tuple(single(frozenset(), size) for size in shape)


def origins(pieces: Iterable[Piece]) -> frozenset[int]:
    """The axes of the leaf that pieces come from.

    >>> origins([Piece(frozenset({0}), 2), Piece(frozenset(), 3)])
    frozenset({0})
    """
    return frozenset().union(*(piece.origin for piece in pieces))


def broadcast(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of an operand in the result of an elementwise operation.

    Args:
      axes: axes of an operand: as many as the result has, or none.
      shape: shape of the result.

    >>> broadcast(whole((1, 3)), (2, 3)) == (*missing([2]), whole((1, 3))[1])
    True
    """
    if not axes:
        return missing(shape)
    sizes = zip(axes, shape, strict=True)
    return tuple(a if extent(a) == n else single(frozenset(), n) for a, n in sizes)


def resized(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of parts of a value, or of a longer value that it is a part of.

    >>> resized(whole((2, 3)), (2, 1))[1]
    (Piece(origin=frozenset({1}), size=1),)
    """
    sizes = zip(axes, shape, strict=True)
    return tuple(a if extent(a) == n else single(origins(a), n) for a, n in sizes)


def united(several: Sequence[Axes]) -> Axes:
    """The axes of a value that comes from values of its shape, part by part.

    >>> united([whole((2,)), missing((2,))]) == whole((2,))
    True
    """
    return tuple(
        same[0]
        if len(set(same)) == 1
        else single(origins(sum(same, ())), extent(same[0]))
        for same in zip(*several, strict=True)
    )


def extent(axis: Iterable[Piece]) -> int:
    """The size of an axis.

    >>> extent((Piece(frozenset({0}), 2), Piece(frozenset({1}), 3)))
    6
    """
    return math.prod(piece.size for piece in axis)


def single(origin: frozenset[int], size: int) -> tuple[Piece, ...]:
    """An axis of one piece; of none if it comes from nowhere and has size 1.

    >>> single(frozenset(), 1), single(frozenset({0}), 1)
    ((), (Piece(origin=frozenset({0}), size=1),))
    """
    return (Piece(origin, size),) if origin or size != 1 else ()
