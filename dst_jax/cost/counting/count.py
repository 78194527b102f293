"""`count`: a function transformation, like `jax.grad`."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from jax.extend import core

from dst_jax.cost.counting.convolution import conv_factors
from dst_jax.cost.counting.joint_counts import Met, op_counts
from dst_jax.cost.counting.matmul import dot_factors
from dst_jax.cost.counting.op_counts import OpCounts
from dst_jax.cost.counting.per_example import of_each_example
from dst_jax.cost.counting.side_sums import SUMS, summed_counts
from dst_jax.jaxprs.product_operands import dot_numbers, sides
from dst_jax.jaxprs.tracing import visited
from dst_jax.jaxprs.values import Value

__all__ = ["count", "exact_counts"]


def count(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    with_output: bool = False,
    per_example: bool = False,
    opaque: Literal["raise", "list"] = "raise",
) -> Callable[..., Any]:
    """A function that counts the multiplications of `fn` on its arguments, exactly.

    It counts every convolution and matrix product that `fn` executes: the number of
    products, and how many have a nonzero activation, a nonzero weight, or both.
    Products in `scan` and `while_loop` are added over the iterations, each with its
    actual operands. In a `cond` only the branch that is taken counts; the others are
    listed with zeros. Under `vmap` and `grad` it counts the operations that JAX makes
    of `fn`: all examples, both branches where examples take different ones, the
    backward pass. Inside `shard_map` the devices add up; a product that all devices
    compute counts once. (Called inside `shard_map`, this counts the device's share.)

    Elementwise products are not counted, nor sums and products along an axis. NaN is
    nonzero, -0.0 is zero, True is nonzero; a complex product counts as one.

    Rows of `ragged_dot` meet the matrix of their group; those past the last group are
    products of `dense` only. So are the pairs of BCOO and BCSR matrices of which
    nothing is stored: `valid` are those with a stored entry, zero or not. The scales of
    `scaled_dot` and `scaled_matmul` are not counted. Products of two weights are
    `WeightCounts`, which totals keep apart.

    Whatever else may multiply matrices is refused by name, and never passed over:
    Fourier transforms; decompositions, solvers and inverses of `jnp.linalg` and
    `jax.scipy.linalg`; older sparse formats of JAX; Pallas kernels with products,
    foreign kernels; callbacks; `custom_vmap`, `shard_map(check_vma=False)`; products in
    loops over mutable arrays; primitives that JAX does not define. `register` takes a
    rule for a primitive; `opaque="list"` lists what is not counted, and why.

    The weight of an operation is the operand that depends on the arguments `weights`
    and on no other. A constant is the weight if the other operand is data. If both
    operands depend on data (attention), or neither does, `by_activation` is `effectual`
    and `by_weight` is `valid`. Weights that never reach a product are no error.

    Wrap it in `jax.jit`: unjitted, it runs `fn` one primitive at a time. `dense` and
    `valid` of an operation outside loops and branches are known while tracing:
    `jax.eval_shape` around `int(counts["conv1"].dense)` computes nothing. The output
    is that of `fn`, but operations inside custom derivatives and remat are evaluated
    in place: differentiate `fn`, not this.

    Args:
      fn: function of arrays, or pytrees of arrays, of Linen, NNX, Equinox or plain
        JAX. Leaves that are no arrays, such as functions and flags, stay as they are.
        Or a module that holds its weights and is a function, as those of Equinox.
      weights: positions of the arguments that hold the weights; separate masks are
        weights too. Left out for a module.
      with_output: Whether to return the output as well.
      per_example: Whether to count every example by itself, as a batch of one. The
        leading axis of every array that is no weight is the batch. The counts add up
        to those of the batch if `fn` treats its examples independently, as networks in
        evaluation do (not with BatchNorm in training). The output is that of the
        batches of one, stacked: logits of shape (batch, 1, classes).
      opaque: Whether operations that cannot be counted are refused, "raise", or are
        among the results as `Uncounted`, "list".

    Returns:
      A function of the arguments of `fn` that returns `dict[str, OpCounts]` in order
      of execution, or `(output, counts)`. The keys are module paths such as
      `layer1/0/conv1`, without the outermost module if all share it. They are those of
      Flax Linen, Haiku and `jax.named_scope`; where the program holds none, as in NNX,
      that of the leaves an operation multiplies: `blocks/0/fc` of
      `blocks/0/fc/kernel`, `fc` of a leaf `fc` outside of any module.
      Operations that share a path have the primitive's name appended:
      `attn/dot_general_1`. With `per_example` every `Count` has the shape (batch,).

    Raises:
      TypeError: `weights` is neither an integer nor a tuple of them.
      ValueError: `weights` names no argument, or one without arrays, `opaque` is
        unknown, or, at the call, `fn` multiplies matrices in a way that cannot be
        counted.

    >>> import jax.numpy as jnp
    >>> counts = count(lambda w, x: x @ w)(jnp.eye(2), jnp.ones((3, 2)))
    >>> counts["dot_general"].dense, counts["dot_general"].effectual
    (Count(12), Count(6))
    >>> each = count(lambda w, x: x @ w, per_example=True)
    >>> each(jnp.eye(2), jnp.array([[1.0, 1.0], [0.0, 1.0]]))["dot_general"].effectual
    Count([2, 1])
    >>> found = count(jnp.linalg.cholesky, opaque="list")(jnp.eye(2))["cholesky"]
    >>> found.executions, found.reason
    (Count(1), 'its number of multiplications depends on the algorithm')
    """
    counted = visited(
        fn,
        _met,
        weights=weights,
        with_output=with_output,
        opaque=opaque,
        settle=_counted,
    )
    return of_each_example(counted, fn, weights=weights) if per_example else counted


def exact_counts(
    eqn: core.JaxprEqn, args: list[Value], results: list[Value]
) -> OpCounts:
    """The counts of one operation; its results are not read.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax.jaxprs.operand_roles import Role
    >>> x, w = jnp.ones((4, 2)), jnp.eye(2, 3)
    >>> (eqn,) = jax.make_jaxpr(jnp.dot)(x, w).eqns
    >>> args = [Value(x, Role.DATA), Value(w, Role.WEIGHT)]
    >>> exact_counts(eqn, args, []).effectual
    Count(8)
    """
    (counts,) = _counted([_met(eqn, args, results)])
    return counts


def _met(eqn: core.JaxprEqn, args: list[Value], results: list[Value]) -> Met | OpCounts:
    """What is added up for one operation, or its counts; its results are not read."""
    del results
    if eqn.primitive.name in SUMS:
        return summed_counts(eqn, args)
    lhs, rhs = sides(eqn, args)
    if eqn.primitive.name == "conv_general_dilated":
        out = eqn.outvars[0].aval
        factors = conv_factors(lhs.array, rhs.array, out, eqn.params)
    else:
        factors = dot_factors(lhs.array, rhs.array, dot_numbers(eqn))
    return Met(factors, lhs.role, rhs.role)


def _counted(found: Sequence[Any]) -> list[Any]:
    """The counts of operations; what else was found stays."""
    counts = iter(op_counts([met for met in found if isinstance(met, Met)]))
    return [next(counts) if isinstance(met, Met) else met for met in found]
