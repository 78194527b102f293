"""Where the leaves of the weights are multiplied, and along which of their axes.

Every leaf is followed from the arguments through operations that move elements and
through elementwise ones, to the convolutions and matrix products that use it. What is
computed from it in any other way does not count as the leaf.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jax.extend import core

from dst_jax.jaxprs.axis_pieces import missing, resized, whole
from dst_jax.jaxprs.calls import name_of
from dst_jax.jaxprs.dataflow import Domain, NameStacks
from dst_jax.jaxprs.hidden_products import is_opaque, multiplies, reads_mutable
from dst_jax.jaxprs.module_paths import path_of
from dst_jax.jaxprs.operand_roles import Role, activation_side, joined
from dst_jax.jaxprs.product_axes import Meaning, meaning
from dst_jax.jaxprs.product_operands import SPARSE, is_product
from dst_jax.jaxprs.weight_labels import (
    Label,
    View,
    elementwise,
    factors,
    joint,
    relocated,
    shape_of,
)

__all__ = ["Use", "WeightUses"]

# What a function on the host makes of a leaf is not the leaf.
CALLBACKS = frozenset({"io_callback", "pure_callback"})


class Use(NamedTuple):
    """A product that multiplies a leaf.

    Attributes:
      leaf: number of the leaf.
      meaning: what the axes of the leaf mean there.
      by_data: whether the other operand is more than weights.
      scope: name stacks of the product.
    """

    leaf: int
    meaning: Meaning
    by_data: bool
    scope: NameStacks


class WeightUses(Domain[Label]):
    """Follows leaves to the products that use them.

    Args:
      names: names of the leaves, for messages.
      conventional: whether each leaf is called as kernels usually are. This decides
        which operand is the activation where roles do not: where both operands derive
        from leaves, and both of them or neither depend on data.

    Attributes:
      uses: products that multiply a leaf, in order of execution.
      read: leaves from which a gather, or a slice at a place that data choose, reads.

    >>> import jax
    >>> from dst_jax.jaxprs.calls import opened
    >>> from dst_jax.jaxprs.dataflow import followed
    >>> program = opened(jax.make_jaxpr(lambda w, x: x @ w)(*[jax.numpy.eye(2)] * 2))
    >>> axes = whole((2, 2))
    >>> weights = Label(Role.WEIGHT, axes, (View(0, axes),))
    >>> found = WeightUses(["w"], [True])
    >>> _ = followed(program, [weights, Label(Role.DATA, axes)], found)
    >>> found.uses[0].meaning.inputs
    (0,)
    """

    def __init__(self, names: Sequence[str], conventional: Sequence[bool]):
        self.uses: list[Use] = []
        self.read: set[int] = set()
        self._names, self._conventional = names, conventional
        self._settled = True

    def constant(self, aval: Any) -> Label:
        """A constant, which varies along its axes that are longer than 1."""
        shape = getattr(aval, "shape", ())
        axes = zip(whole(shape), shape, strict=True)
        return Label(Role.CONSTANT, tuple(a if n != 1 else () for a, n in axes))

    def either(self, a: Label, b: Label) -> Label:
        """A value that may derive from the leaves of both."""
        return a if a == b else joint([a, b])

    def element(self, fact: Label, scan: core.JaxprEqn) -> Label:
        """One of the parts along the leading axis, which the view remembers."""
        views = (
            view._replace(axes=view.axes[1:], taken=(*view.taken, (scan, view.axes[0])))
            for view in fact.views
        )
        return Label(fact.role, fact.own[1:], tuple(views))

    def stacked(self, fact: Label, scan: core.JaxprEqn) -> Label:
        """The parts along the axis that they were taken from, or along a new one."""
        length = scan.params["length"]
        (new,) = missing([length])
        views = []
        for view in fact.views:
            axis = dict(view.taken).get(scan, new)
            taken = tuple(pair for pair in view.taken if pair[0] is not scan)
            views.append(view._replace(axes=(axis, *view.axes), taken=taken))
        return Label(fact.role, (*whole([length]), *fact.own), tuple(views))

    def shaped(self, fact: Label, aval: Any) -> Label:
        """A part of the value, or a value of which it is a part."""
        return fact.mapped(lambda axes: resized(axes, getattr(aval, "shape", ())))

    def tentative(self) -> "WeightUses":
        """The same without recording."""
        other = copy.copy(self)
        other._settled = False
        return other

    def results(
        self, eqn: core.JaxprEqn, operands: Sequence[Label], scope: NameStacks
    ) -> list[Label]:
        """The labels of an equation's results; records what it does with leaves.

        Raises:
          ValueError: the equation may multiply a leaf in a way that is not followed.
        """
        name = eqn.primitive.name
        if is_product(eqn) and name not in SPARSE:
            return [self._product(eqn, operands, scope)]
        leaves = {view.leaf for label in operands for view in label.views}
        if leaves and name not in CALLBACKS and _is_hidden(eqn):
            raise ValueError(self._unsupported(name_of(eqn), leaves, scope))
        if self._settled and _reads(eqn, operands):
            self.read |= {view.leaf for view in operands[0].views}
        role = joined(label.role for label in operands)
        found = relocated(eqn, operands) or elementwise(eqn, operands)
        if found is None:
            return [Label(role, whole(shape_of(var))) for var in eqn.outvars]
        return [label._replace(role=role) for label in found]

    def _product(
        self, eqn: core.JaxprEqn, operands: Sequence[Label], scope: NameStacks
    ) -> Label:
        role = joined(label.role for label in operands)
        weights = self._weights(operands)
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            if not contracted or (role == Role.WEIGHT and len(weights) == 2):
                return factors(eqn, operands)
        for side in weights:
            by_data = operands[1 - side].role != Role.WEIGHT
            for view in operands[side].views:
                self._record(Use(view.leaf, _meaning(eqn, side, view), by_data, scope))
        # What is multiplied by a kernel is an activation, even if it is a constant.
        role |= Role.DATA if weights else role
        return Label(role, whole(shape_of(eqn.outvars[0])))

    def _record(self, use: Use) -> None:
        # A product that contracts no axis of a leaf only scales it.
        if self._settled and (use.meaning.inputs or use.meaning.window):
            self.uses.append(use)

    def _weights(self, operands: Sequence[Label]) -> tuple[int, ...]:
        """The sides of a product that hold weights and not activations."""
        viewed = tuple(side for side in (0, 1) if operands[side].views)
        left, right = (label.role for label in operands[:2])
        activation = {"lhs": 0, "rhs": 1, None: -1}[activation_side(left, right)]
        if len(viewed) == 2 and activation >= 0:
            return (1 - activation,)
        if len(viewed) == 2:
            named = tuple(side for side in viewed if self._named(operands[side]))
            return named or viewed
        # Data to which a leaf was added, times weights that are not followed.
        if viewed == (activation,) and operands[1 - activation].role == Role.WEIGHT:
            return ()
        return viewed

    def _named(self, label: Label) -> bool:
        return any(self._conventional[view.leaf] for view in label.views)

    def _unsupported(self, name: str, leaves: Iterable[int], scope: NameStacks) -> str:
        path = "/".join(path_of("/".join(map(str, scope))))
        where = f" in {path}" if path else ""
        followed = ", ".join(
            self._names[leaf] or "the array" for leaf in sorted(leaves)
        )
        return (
            f"kernels.by_use cannot follow {followed} into {name!r}{where}: it follows "
            "weights to convolutions and matrix products, also inside jit, remat, "
            "custom derivatives, loops, branches and shard_map"
        )


def _meaning(eqn: core.JaxprEqn, side: int, view: View) -> Meaning:
    """What the axes of a leaf mean: `x @ (a @ b)` uses `a` and `b` as `x @ a @ b`."""
    found, bound = meaning(eqn, side, view.axes), tuple(sorted(view.bound))
    if bound and found.inputs:
        return found._replace(outputs=(*found.outputs, *bound))
    return found._replace(inputs=bound) if bound else found


def _is_hidden(eqn: core.JaxprEqn) -> bool:
    """Whether an equation may multiply its operands, or hand them on, out of sight."""
    if eqn.primitive.name in SPARSE:  # a leaf of entries has no axes of a kernel
        return True
    return is_opaque(eqn) or multiplies(eqn) or reads_mutable(eqn)


def _reads(eqn: core.JaxprEqn, operands: Sequence[Label]) -> bool:
    """Whether an equation looks up a part of its first operand."""
    if eqn.primitive.name != "dynamic_slice":
        return eqn.primitive.name == "gather"
    sizes = zip(shape_of(eqn.invars[0]), eqn.params["slice_sizes"], strict=True)
    return any(
        index.role & Role.DATA and size != whole_size
        for index, (whole_size, size) in zip(operands[1:], sizes, strict=True)
    )
