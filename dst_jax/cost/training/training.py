"""`training`: the multiplications of a whole training step, exactly."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

from dst_jax import trees
from dst_jax.cost.counting.count import exact_counts
from dst_jax.cost.counting.op_counts import OpCounts
from dst_jax.cost.training.gradient_phases import Part
from dst_jax.cost.training.step_counts import StepCounts, TrainingCounts, step_counts
from dst_jax.cost.training.training_program import (
    TrainingProgram,
    WeightName,
    training_program,
)
from dst_jax.cost.training.weight_gradients import (
    kept_products,
    kept_valid,
    products_per_weight,
)
from dst_jax.jaxprs import module_paths as naming
from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.tracing import argument_positions, check_weights
from dst_jax.jaxprs.values import values_of
from dst_jax.typing import Mask

__all__ = ["training"]


def training(
    loss: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    mask: Mask = None,
) -> Callable[..., TrainingCounts]:
    """A function that counts the multiplications of a training step, exactly.

    It counts what `jax.value_and_grad(loss, argnums=weights)` executes: the products of
    the forward pass, those of the gradients of activations, and those of the gradients
    of weights, each under the zeros of its own two operands. A custom derivative counts
    as it is written, and what remat computes again counts again, as forward. The first
    layer has no input gradient, as JAX computes none. What no result depends on does
    not count, nor does the optimizer.

    With `mask`, the products of weight gradients are told apart by the weight that they
    are summed to: a sparse method needs the gradients of kept weights only, most of the
    time (`effectual`), and those of all weights at some steps (`all_weights`).

    Args:
      loss: function of weights and data that returns a scalar; a leaf of the data is an
        argument: what `loss` closes over is a constant.
      weights: positions of the arguments whose gradients are taken.
      has_aux: Whether `loss` returns `(scalar, others)`.
      mask: tree of bool arrays like the weights, or a part of it: True where a weight's
        gradient is needed; None leaves are needed whole. With several positions, a
        tuple of such trees.

    Returns:
      A function of the arguments of `loss` that returns `TrainingCounts`. The keys of
      each part are those of `cost.count`. A scan is unrolled; its operations share a
      path and are numbered. Operations of a branch that is not taken are listed with
      zeros.

    Raises:
      TypeError: `weights` is neither an integer nor a tuple of them.
      ValueError: at the call: `weights` names no argument, or one without arrays; the
        loss is no scalar; a leaf of `mask` is no weight's; a product is in a
        `while_loop` or a `shard_map`, or is none of `conv_general_dilated`,
        `dot_general` and `ragged_dot`.

    Reference:
      Evci et al. 2020 (RigL, arXiv 1911.11134), appendix on FLOPs, whose `3 f_S` is
      `by_weight` of the three parts.

    >>> w, x = jnp.eye(2), jnp.array([[1.0, 0.0], [2.0, 3.0], [0.0, 0.0]])
    >>> found = jax.jit(training(lambda w, x: (x @ w).sum(), mask=w != 0))(w, x)
    >>> int(found.forward["dot_general"].effectual)
    3
    >>> gradient = found.weight_gradient["dot_general"]
    >>> int(gradient.valid), int(gradient.all_weights), int(gradient.effectual)
    (12, 6, 3)
    """
    positions = argument_positions(weights)

    @functools.wraps(loss)
    def counted(*args: Any, **kwargs: Any) -> TrainingCounts:
        check_weights(positions, args)
        step = training_program(loss, args, kwargs, positions, has_aux=has_aux)
        masks = {} if mask is None else _masks(step, mask, weights)
        return _named(step, _counted(step, masks))

    return counted


def _masks(
    step: TrainingProgram, mask: Any, weights: int | tuple[int, ...]
) -> dict[WeightName, Array]:
    """The mask of every weight that has one.

    Raises:
      ValueError: a leaf of the mask is no weight with a gradient.
    """
    each = (
        [(weights, mask)]
        if isinstance(weights, int)
        else zip(weights, mask, strict=True)
    )
    found = {
        WeightName(position, path): jnp.asarray(leaf)
        for position, tree in each
        for path, leaf in trees.named_leaves(tree).items()
    }
    unknown = [
        name.path for name in found if name not in step.weights[: step.gradients]
    ]
    if unknown:
        raise ValueError(
            f"mask names {unknown}, which are no weights with a gradient: those are"
            f" {[name.path for name in step.weights[: step.gradients]]}"
        )
    return found


def _counted(
    step: TrainingProgram, masks: Mapping[WeightName, Array]
) -> dict[int, StepCounts]:
    """The counts of every product, by the number of its step."""
    products = {i: _product(step, i) for i in step.parts}
    if not masks:
        _, found = _run(step, {})
        return {i: _counts_of(step, i, found[i].counts) for i in products}
    shifts = {
        i: _zeros(eqn)
        for i, eqn in products.items()
        if step.parts[i].part == "weight_gradient"
    }
    gradients, pull, found = jax.vjp(
        lambda shifts: _run(step, shifts), shifts, has_aux=True
    )
    needed = [
        jnp.broadcast_to(masks.get(name, True), x.shape).astype(x.dtype)
        for name, x in zip(step.weights, gradients, strict=False)
    ]
    # A gradient is linear in its products, so this says which of them it needs.
    (pulled,) = pull(needed)
    kept = {i: _if_taken(x != 0, found[i].taken) for i, x in pulled.items()}
    return {
        i: _counts_of(step, i, found[i].counts, **_kept(eqn, found[i], kept.get(i)))
        for i, eqn in products.items()
    }


class _Found(NamedTuple):
    """What is found at a product.

    Attributes:
      counts: its counts; zeros in a branch that is not taken.
      taken: Whether its branch is taken; None outside of branches.
      sizes: group sizes of a ragged product.
      per_weight: products behind every element of its results, if these are shifted.
    """

    counts: OpCounts
    taken: Array | None
    sizes: list[Array]
    per_weight: Array | None


def _kept(eqn: core.JaxprEqn, found: _Found, kept: Array | None) -> dict[str, Count]:
    """The counts of a weight gradient for kept weights; none of other products."""
    if kept is None or found.per_weight is None:
        return {}
    return {
        "by_weight": kept_valid(eqn, kept, *found.sizes),
        "effectual": kept_products(kept, found.per_weight),
    }


def _if_taken(x: Any, taken: Array | None) -> Any:
    """An array or tree of them, in a branch that is not taken zeros."""
    if taken is None:
        return x
    return jax.tree.map(lambda leaf: jnp.where(taken, leaf, 0).astype(leaf.dtype), x)


def _run(
    step: TrainingProgram, shifts: Mapping[int, Array]
) -> tuple[list[Any], dict[int, _Found]]:
    """The gradients of the weights, and what is found at the products.

    Args:
      step: training step.
      shifts: what to add to the results of products, by the number of their step.
    """
    program = step.program
    env = program.constants | dict(zip(program.inputs, step.inputs, strict=True))
    found: dict[int, _Found] = {}
    for i, flat in enumerate(program.steps):
        operands = [env[slot] for slot in flat.reads]
        results = flat.run(operands)
        if flat.product is not None:
            # JAX has literals that are no arrays.
            operands = [jnp.asarray(x) for x in operands]
            taken = None if flat.taken is None else env[flat.taken]
            roles = (Role.DATA, Role.WEIGHT, *[Role.DATA] * len(operands[2:]))
            counts = exact_counts(flat.product, values_of(operands, roles), [])
            per_weight = None
            if i in shifts:
                per_weight = products_per_weight(flat.product, *operands)
                results = [results[0] + shifts[i]]
            counts = _if_taken(counts, taken)
            found[i] = _Found(counts, taken, operands[2:], per_weight)
        env.update(zip(flat.writes, results, strict=True))
    first = len(program.outputs) - step.gradients
    return [env[slot] for slot in program.outputs[first:]], found


def _product(step: TrainingProgram, number: int) -> core.JaxprEqn:
    eqn = step.program.steps[number].product
    assert eqn is not None  # it has a part
    return eqn


def _zeros(eqn: core.JaxprEqn) -> Array:
    aval: Any = eqn.outvars[0].aval
    return jnp.zeros(aval.shape, aval.dtype)


def _counts_of(step: TrainingProgram, i: int, op: OpCounts, **kept: Any) -> StepCounts:
    sides = (op.by_activation, op.by_weight)  # the left operand, the right one
    return step_counts(step.parts[i], op.valid, sides, op.effectual, **kept)


def _named(step: TrainingProgram, found: Mapping[int, StepCounts]) -> TrainingCounts:
    """The counts by part and by the names that `cost.count` gives to operations."""
    modules = [
        names[:-1] or names
        for names in (tuple(filter(None, w.path.split("/"))) for w in step.weights)
    ]
    known = naming.modules_of(modules)
    named = {}
    for part in get_args(Part):
        own = [i for i in found if step.parts[i].part == part]
        operations = [
            (step.program.steps[i].path, _product(step, i).primitive.name) for i in own
        ]
        owners = []
        for i in own:
            paths = {modules[leaf] for leaf in step.parts[i].leaves}
            owners.append(paths.pop() if len(paths) == 1 else ())
        keys = naming.keys(operations, owners, modules=known)
        named[part] = OrderedDict(zip(keys, (found[i] for i in own), strict=True))
    return TrainingCounts(**named)
