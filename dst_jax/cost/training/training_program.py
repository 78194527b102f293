"""A training step as a program: the loss, and the gradients of its weights."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import trees
from dst_jax.cost.training.gradient_phases import ProductPart, product_parts
from dst_jax.jaxprs.calls import opened
from dst_jax.jaxprs.flat_program import FlatProgram, flattened
from dst_jax.jaxprs.plain_derivatives import plain_derivatives
from dst_jax.jaxprs.tracing import arrays_apart

__all__ = ["TrainingProgram", "WeightName", "training_program"]


class WeightName(NamedTuple):
    """Which weight it is: the position of the argument, and the path in it."""

    position: int
    path: str


class TrainingProgram(NamedTuple):
    """A traced training step.

    Attributes:
      program: its program. The first input is the gradient of the loss, and the last
        outputs are the gradients of the weights.
      inputs: values of its inputs.
      parts: what each product is, by the number of its step.
      weights: all weights by their number, those with a gradient first.
      gradients: number of weights with a gradient.
    """

    program: FlatProgram
    inputs: list[Any]
    parts: dict[int, ProductPart]
    weights: list[WeightName]
    gradients: int


def training_program(
    loss: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    positions: tuple[int, ...],
    *,
    has_aux: bool,
) -> TrainingProgram:
    """The training step of a loss as a program.

    Args:
      loss: function of weights and data that returns a scalar.
      args, kwargs: its arguments.
      positions: positions of the arguments that hold weights.
      has_aux: Whether `loss` returns `(scalar, others)`.

    Raises:
      ValueError: the loss is no scalar, or the program cannot be flattened.

    >>> def loss(w, x):
    ...     return (x @ w).sum()
    >>> args = (jnp.eye(2), jnp.ones((3, 2)))
    >>> step = training_program(loss, args, {}, (0,), has_aux=False)
    >>> [found.part for found in step.parts.values()], step.gradients
    (['forward', 'weight_gradient'], 1)
    """
    arrays, filled = arrays_apart(args, kwargs)
    values = [jnp.asarray(x) for x in arrays.values()]
    names = _weight_names(arrays, args, kwargs, positions)
    trained = [i for i in names if jnp.issubdtype(values[i].dtype, jnp.inexact)]
    others = [i for i in names if i not in trained]

    def step(seed: Array, *given: Any) -> Any:
        def of_weights(*weights: Any) -> Any:
            every = dict(enumerate(given)) | dict(zip(trained, weights, strict=True))
            args, kwargs = filled([every[i] for i in range(len(given))])
            value = loss(*args, **kwargs)
            return value if has_aux else (value, ())

        own = [given[i] for i in trained]
        value, pull, aux = jax.vjp(of_weights, *own, has_aux=True)
        if jnp.shape(value):
            raise ValueError(
                f"loss must return a scalar, got an array of shape {value.shape}"
            )
        return value, aux, pull(seed.astype(value.dtype))

    inputs = [jnp.ones(()), *values]
    with plain_derivatives():
        closed = jax.make_jaxpr(step)(*inputs)
    flat = flattened(opened(closed))
    numbers = {i: n for n, i in enumerate((*trained, *others))}
    leaves = [None, *(numbers.get(i) for i in range(len(values)))]
    parts = product_parts(flat, leaves, seed=0, gradients=len(trained))
    weights = [names[i] for i in numbers]
    return TrainingProgram(flat, inputs, parts, weights, len(trained))


def _weight_names(
    arrays: Mapping[int, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    positions: tuple[int, ...],
) -> dict[int, WeightName]:
    """The weights among the arrays, by their number among these."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path((args, kwargs))]
    found = {}
    for i, leaf in enumerate(arrays):
        kind, argument, *rest = paths[leaf]
        if kind.idx == 0 and argument.idx in positions:
            found[i] = WeightName(argument.idx, trees.path_name(rest))
    return found
