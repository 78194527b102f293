"""How a value derives from leaves of the weights, and what operations make of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend import core

from dst_jax.jaxprs.axis_moves import moves
from dst_jax.jaxprs.axis_pieces import (
    Axes,
    Piece,
    broadcast,
    missing,
    origins,
    united,
    whole,
)
from dst_jax.jaxprs.operand_roles import Role, joined

__all__ = ["Label", "View", "elementwise", "factors", "joint", "relocated", "shape_of"]

# Their results have the shapes of their operands, but they are not elementwise.
MIXING = {"all_to_all", "cholesky", "eigh", "fft", "gather", "geqrf", "hessenberg"}
MIXING |= {"householder_product", "lu", "ppermute", "qr", "schur", "sort"}
MIXING |= {"symmetric_product", "triangular_solve", "tridiagonal_solve"}
MIXING |= {"cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"}
MIXING |= {f"reduce_window{suffix}" for suffix in ("", "_max", "_min", "_sum")}
# A bound on the views of one value, so that following a loop ends.
MOST = 16


class View(NamedTuple):
    """How a value derives from a leaf.

    Attributes:
      leaf: number of the leaf.
      axes: what each axis of the value is made of.
      bound: axes of the leaf that a product with other weights has contracted.
      taken: axes that a `scan` around has taken apart, by its equation.
    """

    leaf: int
    axes: Axes
    bound: frozenset[int] = frozenset()
    taken: tuple[tuple[core.JaxprEqn, tuple[Piece, ...]], ...] = ()


class Label(NamedTuple):
    """What is known about a value.

    Attributes:
      role: arguments on which it depends.
      own: axes of the value itself; it is constant along pieces without an origin.
      views: how it derives from leaves; empty if it does not.
    """

    role: Role
    own: Axes
    views: tuple[View, ...] = ()

    def mapped(self, move: Callable[[Axes], Axes]) -> "Label":
        """The label of the value with its axes moved.

        >>> Label(Role.DATA, whole((2, 3))).mapped(lambda axes: axes[1:]).own
        ((Piece(origin=frozenset({1}), size=3),),)
        """
        views = (view._replace(axes=move(view.axes)) for view in self.views)
        return Label(self.role, move(self.own), tuple(views))


def shape_of(variable: Any) -> tuple[int, ...]:
    """The shape of a variable of a jaxpr; () for tokens and the like.

    >>> import jax
    >>> shape_of(jax.make_jaxpr(lambda x: x)(jax.numpy.ones(3)).jaxpr.invars[0])
    (3,)
    """
    return getattr(variable.aval, "shape", ())


def joint(labels: Sequence[Label]) -> Label:
    """The label of what derives from several values of its shape.

    >>> joint([Label(Role.WEIGHT, ()), Label(Role.CONSTANT, ())]).role
    <Role.WEIGHT: 1>
    """
    views = dict.fromkeys(view for label in labels for view in label.views)
    return Label(
        joined(label.role for label in labels),
        united([label.own for label in labels]),
        tuple(views)[:MOST],
    )


def relocated(eqn: core.JaxprEqn, operands: Sequence[Label]) -> list[Label] | None:
    """The results of an operation that moves elements; None if it is not one.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: x[0])(jax.numpy.ones((2, 3)))
    >>> (label,) = relocated(program.eqns[0], [Label(Role.DATA, whole((2, 3)))])
    >>> [piece.size for axis in label.own for piece in axis]
    [1, 3]
    """
    results: list[list[Label]] = []
    for i, label in enumerate(operands):
        found = moves(eqn, i)
        if found is not None:  # else an index, or the value of a padding
            results.append([label.mapped(move) for move in found])
    return [joint(same) for same in zip(*results, strict=True)] or None


def elementwise(eqn: core.JaxprEqn, operands: Sequence[Label]) -> list[Label] | None:
    """The results of an elementwise operation; None if it is not one.

    A leaf that only modifies another operand is left out: one that is constant along
    an axis along which the other varies, and varies along none but axes of the other.
    So are scales, biases, and the mean of a leaf next to the leaf itself.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda w, s: w * s)(*[jax.numpy.ones((2, 3))] * 2)
    >>> w = Label(Role.WEIGHT, whole((2, 3)), (View(0, whole((2, 3))),))
    >>> s = Label(Role.WEIGHT, missing((2, 3)), (View(1, missing((2, 3))),))
    >>> [view.leaf for view in elementwise(program.eqns[0], [w, s])[0].views]
    [0]
    """
    name, given = eqn.primitive.name, [shape_of(atom) for atom in eqn.invars]
    results = [shape_of(var) for var in eqn.outvars]
    if not given or name in MIXING or name.startswith(("random_", "rng_")):
        return None
    if given == results and len(given) > 1:  # a barrier, which hands on each operand
        return list(operands)
    shape = results[0]
    if set(results) != {shape} or not all(_fits(operand, shape) for operand in given):
        return None
    labels = [x.mapped(lambda axes: broadcast(axes, shape)) for x in operands]
    return [_without_modifiers(labels)] * len(results)


def factors(eqn: core.JaxprEqn, operands: Sequence[Label]) -> Label:
    """The result of a `dot_general` that goes on as what its operands derive from.

    Each leaf keeps the axes that remain, and what is contracted is bound: so are the
    factors of a kernel. Without contracted axes the product is an elementwise one.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda a, b: a @ b)(*[jax.numpy.ones((2, 2))] * 2)
    >>> leaves = [View(i, whole((2, 2))) for i in (0, 1)]
    >>> ab = factors(
    ...     program.eqns[0], [Label(Role.WEIGHT, view.axes, (view,)) for view in leaves]
    ... )
    >>> [view.bound for view in ab.views]
    [frozenset({1}), frozenset({0})]
    """
    contracted, batch = eqn.params["dimension_numbers"]
    shape = shape_of(eqn.outvars[0])
    placed: list[Label] = []
    start = len(batch[0])  # of the free axes
    for side, label in enumerate(operands):
        gone = (*contracted[side], *batch[side])
        free = [i for i in range(len(label.own)) if i not in gone]
        to = [*range(len(batch[0])), *range(start, start + len(free))]
        kept = dict(zip(to, (*batch[side], *free), strict=True))
        placed.append(_placed(label, kept, contracted[side], shape))
        start += len(free)
    if not contracted[0]:
        return _without_modifiers(placed)
    return joint(placed)._replace(own=whole(shape))


def _placed(
    label: Label, kept: dict[int, int], bound: Sequence[int], shape: tuple[int, ...]
) -> Label:
    """An operand of a product in its result, by the axes that it keeps there."""
    absent = missing(shape)

    def move(axes: Axes) -> Axes:
        return tuple(
            axes[kept[i]] if i in kept else absent[i] for i in range(len(shape))
        )

    views: list[View] = []
    for view in label.views:
        pieces = [piece for axis in bound for piece in view.axes[axis]]
        gone = view.bound | origins(pieces)
        views.append(view._replace(axes=move(view.axes), bound=gone))
    return Label(label.role, move(label.own), tuple(views))


def _without_modifiers(labels: Sequence[Label]) -> Label:
    """What an elementwise operation makes of labels of one shape, see `elementwise`."""
    extents = [_extent(label.own) for label in labels]
    kept = []
    for i, label in enumerate(labels):
        others = extents[:i] + extents[i + 1 :]
        views = (v for v in label.views if not any(_extent(v.axes) < o for o in others))
        kept.append(label._replace(views=tuple(views)))
    return joint(kept)


def _fits(operand: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Whether an operand is a scalar, or has the result's axes or axes of size 1."""
    if not operand:
        return True
    return len(operand) == len(result) and all(
        a in (1, b) for a, b in zip(operand, result, strict=True)
    )


def _extent(axes: Axes) -> frozenset[int]:
    """The axes of a value along which it varies."""
    return frozenset(i for i, axis in enumerate(axes) if origins(axis))
