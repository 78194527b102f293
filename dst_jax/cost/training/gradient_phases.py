"""Which products of a training step are forward, input gradients, weight gradients.

The backward pass is a program like any other: its values follow from the gradient of
the loss, which is an input. A product of a gradient and a weight is the gradient of an
activation. A product of a gradient and an activation is the gradient of what that
activation was multiplied with: of a weight, or of another activation (attention). The
gradient of a weight flows on to the weight's leaf through weights alone; the gradient
of an activation meets other activations on its way. So the class of the latter product
is known once the program has been followed to its end.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from dst_jax.jaxprs.flat_program import FlatProgram, FlatStep

__all__ = ["Part", "ProductPart", "product_parts"]

Part = Literal["forward", "input_gradient", "weight_gradient"]


class ProductPart(NamedTuple):
    """What a product is in the training step.

    Attributes:
      part: its part of the step.
      gradient: side of the gradient: 0, 1; None in the forward pass.
      weight: side that depends on weights alone: 0, 1; None if there is none.
      leaves: weights that it multiplies, or whose gradient it is, by their number.
    """

    part: Part
    gradient: int | None
    weight: int | None
    leaves: frozenset[int]


class _Label(NamedTuple):
    """What a value depends on.

    Attributes:
      leaves: numbers of weights.
      data: Whether it depends on data.
      seed: Whether it is a gradient, other than through a product of `made`.
      made: numbers of products of a gradient and an activation that it flows from.
    """

    leaves: frozenset[int] = frozenset()
    data: bool = False
    seed: bool = False
    made: frozenset[int] = frozenset()

    @property
    def is_gradient(self) -> bool:
        return self.seed or bool(self.made)

    @property
    def is_activation(self) -> bool:
        return self.data and not self.is_gradient

    @property
    def is_weight(self) -> bool:
        return bool(self.leaves) and not self.data and not self.is_gradient


def product_parts(
    program: FlatProgram, leaves: Sequence[int | None], *, seed: int, gradients: int
) -> dict[int, ProductPart]:
    """The part of every product, by the number of its step.

    Args:
      program: training step.
      leaves: number of the weight that each input is; None for data.
      seed: position of the input that is the gradient of the loss.
      gradients: number of the last outputs that are gradients: of weights 0, 1, ...

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax.jaxprs.calls import opened
    >>> from dst_jax.jaxprs.flat_program import flattened
    >>> def step(w, x, seed):
    ...     value, pull = jax.vjp(lambda w: (x @ w).sum(), w)
    ...     return value, pull(seed)
    >>> closed = jax.make_jaxpr(step)(jnp.eye(2), jnp.ones((3, 2)), 1.0)
    >>> flat = flattened(opened(closed))
    >>> parts = product_parts(flat, [0, None, None], seed=2, gradients=1)
    >>> [found.part for found in parts.values()]
    ['forward', 'weight_gradient']
    """
    follower = _Follower(program, leaves, seed)
    for i, step in enumerate(program.steps):
        follower.take(i, step)
    return follower.parts(program.outputs[len(program.outputs) - gradients :])


class _Follower:
    """Labels values in the order of execution, and remembers products."""

    def __init__(
        self, program: FlatProgram, leaves: Sequence[int | None], seed: int
    ) -> None:
        self._labels = dict.fromkeys(program.constants, _Label())
        for position, (slot, leaf) in enumerate(
            zip(program.inputs, leaves, strict=True)
        ):
            weight = frozenset() if leaf is None else frozenset({leaf})
            is_seed = position == seed
            self._labels[slot] = _Label(weight, leaf is None and not is_seed, is_seed)
        self._of_activations: set[int] = set()
        self._products: dict[int, tuple[_Label, _Label]] = {}

    def take(self, number: int, step: FlatStep) -> None:
        """Labels the results of a step."""
        operands = [self._labels[slot] for slot in step.reads[step.chooses :]]
        if any(label.is_activation for label in operands):
            # A gradient that meets an activation is no weight's.
            self._of_activations.update(*(label.made for label in operands))
        result = _joined(operands)
        if step.product is not None:
            lhs, rhs = operands[:2]
            self._products[number] = (lhs, rhs)
            gradient, other = (lhs, rhs) if lhs.is_gradient else (rhs, lhs)
            if gradient.is_gradient and not (other.is_weight or other.is_gradient):
                result = result._replace(seed=False, made=frozenset({number}))
        self._labels.update(dict.fromkeys(step.writes, result))

    def parts(self, gradients: Sequence[int]) -> dict[int, ProductPart]:
        """The part of every product, once all steps are taken."""
        reached: dict[int, set[int]] = {}
        for leaf, slot in enumerate(gradients):
            for number in self._labels[slot].made:
                reached.setdefault(number, set()).add(leaf)
        return {
            number: self._part(number, sides, reached)
            for number, sides in self._products.items()
        }

    def _part(
        self, number: int, sides: tuple[_Label, _Label], reached: dict[int, set[int]]
    ) -> ProductPart:
        gradient = next((i for i in (0, 1) if sides[i].is_gradient), None)
        weight = next((i for i in (0, 1) if sides[i].is_weight), None)
        if gradient is None:
            leaves = frozenset() if weight is None else sides[weight].leaves
            return ProductPart("forward", None, weight, leaves)
        other = sides[1 - gradient]
        if other.is_weight:
            made = sides[gradient].made
            of_weight = made and not (
                sides[gradient].seed or made & self._of_activations
            )
        else:
            made = frozenset({number})
            of_weight = not other.is_gradient and number not in self._of_activations
        if of_weight:
            leaves = frozenset().union(*(reached.get(n, ()) for n in made))
            return ProductPart("weight_gradient", gradient, weight, leaves)
        leaves = other.leaves if other.is_weight else frozenset()
        return ProductPart("input_gradient", gradient, weight, leaves)


def _joined(labels: Sequence[_Label]) -> _Label:
    return _Label(
        leaves=frozenset().union(*(label.leaves for label in labels)),
        data=any(label.data for label in labels),
        seed=any(label.seed for label in labels),
        made=frozenset().union(*(label.made for label in labels)),
    )
