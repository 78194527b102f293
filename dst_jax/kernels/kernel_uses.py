"""Which leaves are kernels by what a function does with them."""

import dataclasses
import functools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from dst_jax.jaxprs.axis_pieces import whole
from dst_jax.jaxprs.callable_modules import module_apart
from dst_jax.jaxprs.dataflow import followed
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.product_axes import Meaning
from dst_jax.jaxprs.traced_function import traced
from dst_jax.jaxprs.tracing import argument_positions, check_weights
from dst_jax.jaxprs.weight_labels import Label, View, shape_of
from dst_jax.jaxprs.weight_uses import Use, WeightUses
from dst_jax.kernels.kernel import Kernel, Kernels
from dst_jax.kernels.kernel_names import conventional, may_be_kernel

__all__ = ["by_use"]


def by_use(
    fn: Callable[..., Any], *, weights: int | tuple[int, ...] = 0
) -> Callable[..., Kernels]:
    """A function that finds the kernels of `fn` by what `fn` does with its weights.

    `fn` is traced, and nothing is computed. Every leaf of the weights is followed
    through operations that move its elements and through elementwise ones (masks,
    scales, casts, standardisation), inside jit, remat, custom derivatives, loops,
    branches and `shard_map`, to the matrix products and convolutions that multiply it.
    A float leaf that is multiplied there and contracted is a kernel. Its axes are

    - inputs, if the product contracts them,
    - window, if they are the spatial axes of a convolution,
    - stack, if `fn` goes through them layer by layer: axes that `scan` or an index
      takes apart, batch axes of a product, kernels that `vmap` joins to one grouped
      convolution,
    - outputs, if they are free.

    These are no kernels: a leaf from which a gather reads (a tied embedding), or that
    is only added or multiplied elementwise (bias, scale, position); a leaf under a name
    in `auxiliary`; a vector of parameters of which one part is contracted and another
    is not. A leaf that modifies another (the scale of a kernel, the product `a @ b`
    that is added to it) is not a kernel next to it. In `x @ (a @ b)` both are kernels,
    as in `x @ a @ b`. Leaves that are concatenated are kernels each.

    Where a leaf is used in several ways, the first use that multiplies data decides
    and the others are listed in `conflicts`. Where both operands derive from leaves and
    roles do not tell which is the activation, a leaf that is called as kernels usually
    are is the kernel. If `vmap` maps the weights of a product but not its input, the
    trace does not show it: an axis in front is taken as a stack if it is one of several
    outputs, and in front of all kernels in that `vmap`.

    Args:
      fn: function of arrays, or of pytrees of arrays: Linen, NNX, Equinox or plain
        JAX. Leaves that are no arrays, such as functions and flags, stay as they are.
        Or a module that holds its weights and is a function, as those of Equinox.
      weights: positions of the arguments that hold the weights.

    Returns:
      A function of the arguments of `fn`, or of `jax.ShapeDtypeStruct`s in their place,
      that returns `Kernels`. Paths are those in the argument, `params/conv1/kernel`;
      if `weights` names several arguments, each begins with the position: `0/w`.

    Raises:
      TypeError: `weights` is no integer, nor integers.
      ValueError: `weights` names no argument, or one without leaves; or, at the call,
        two leaves have the same path, a kernel is complex, or a leaf is multiplied in
        a way that is not followed (Pallas, BCOO, `custom_vmap`, ...).

    >>> import jax.numpy as jnp
    >>> w = {"fc": jnp.ones((4, 2, 3)), "bias": jnp.ones((2, 3))}
    >>> find = by_use(lambda w, x: jnp.einsum("bi,iho->bho", x, w["fc"]))
    >>> find(w, jnp.ones((5, 4)))
    {'fc': Kernel(stack=(), window=(), inputs=(0,), outputs=(1, 2), groups=1)}
    """
    positions = argument_positions(weights)
    call, module = module_apart(fn, weights)

    @functools.wraps(fn, updated=())
    def found(*args: Any, **kwargs: Any) -> Kernels:
        args = (*module, *args)
        check_weights(positions, args)
        function = traced(call, args, kwargs, positions)
        invars, paths = function.program.jaxpr.invars, list(function.paths.values())
        leaves = [invars[i].aval for i in function.paths]
        uses = WeightUses(paths, [conventional(path) for path in paths])
        numbers = {at: number for number, at in enumerate(function.paths)}
        labels = [_label(numbers.get(i), shape_of(x)) for i, x in enumerate(invars)]
        followed(function.program, labels, uses)
        kernels, conflicts = _kernels(paths, leaves, uses)
        several = len(positions) > 1
        return Kernels(
            kernels, leaves=function.leaves, conflicts=conflicts, positions=several
        )

    return found


def _label(number: int | None, shape: Sequence[int]) -> Label:
    """The label of an argument: with a number, that of a leaf of the weights."""
    if number is None:
        return Label(Role.DATA, whole(shape))
    return Label(Role.WEIGHT, whole(shape), (View(number, whole(shape)),))


def _kernels(
    paths: Sequence[str], leaves: Sequence[Any], found: WeightUses
) -> tuple[dict[str, Kernel], dict[str, tuple[Kernel, ...]]]:
    """The first use of every leaf that is a kernel, and those that disagree with it."""
    candidates: list[tuple[Use, Kernel]] = []
    # Uses by data come first: a norm of the weights multiplies them ahead of the data.
    for use in sorted(found.uses, key=lambda use: not use.by_data):
        path, leaf = paths[use.leaf], leaves[use.leaf]
        if use.leaf in found.read or not may_be_kernel(path, leaf):
            continue
        if (kernel := _kernel(use.meaning, len(leaf.shape))) is not None:
            candidates.append((use, kernel))
    kernels: dict[str, Kernel] = {}
    conflicts: dict[str, tuple[Kernel, ...]] = {}
    for number, kernel in _unmapped(candidates, leaves):
        path = paths[number]
        first, others = kernels.setdefault(path, kernel), conflicts.get(path, ())
        if kernel not in (first, *others):
            conflicts[path] = (*others, kernel)
    return {path: kernels[path] for path in paths if path in kernels}, conflicts


def _kernel(meaning: Meaning, axes: int) -> Kernel | None:
    """A kernel of whole axes; None if parts of one are inputs and others outputs.

    An axis that the product does not see was taken apart before it: a stack.

    >>> _kernel(Meaning(stack=(), window=(), inputs=(0, 1), outputs=(2,)), 4)
    Kernel(stack=(3,), window=(), inputs=(0, 1), outputs=(2,), groups=1)
    """
    if set(meaning.inputs) & set(meaning.outputs):
        return None
    outputs = meaning.outputs if meaning.groups > 1 else tuple(sorted(meaning.outputs))
    seen = {*meaning.inputs, *outputs}
    window = tuple(sorted(set(meaning.window) - seen))
    stack = tuple(i for i in range(axes) if i not in {*seen, *window})
    return Kernel(stack, window, tuple(sorted(meaning.inputs)), outputs, meaning.groups)


def _unmapped(
    uses: Sequence[tuple[Use, Kernel]], leaves: Sequence[Any]
) -> list[tuple[int, Kernel]]:
    """Leaves and kernels, an axis that `vmap` maps over kernels alone in the stack.

    Where `vmap` maps the kernel and not the input, the mapped axis is an output of the
    product like others. It is in front of every kernel in that `vmap`, of one size,
    and contracted in none.
    """
    mapped: dict[str, list[tuple[int, Kernel]]] = defaultdict(list)
    for use, kernel in uses:
        mapped[_vmap(use)].append((leaves[use.leaf].shape[0], kernel))
    ensembles = {
        scope
        for scope, same in mapped.items()
        if scope and len({size for size, _ in same}) == 1
        if all(_may_be_mapped(kernel) for _, kernel in same)
    }
    return [
        (use.leaf, _stacked(kernel) if _vmap(use) in ensembles else kernel)
        for use, kernel in uses
    ]


def _vmap(use: Use) -> str:
    """The scope of the outermost `vmap` around a use; empty if there is none.

    >>> nowhere = Meaning((), (), (), ())
    >>> _vmap(Use(0, nowhere, True, ("Net/vmap(Block)/Dense_0", "relu")))
    'Net/vmap(Block'
    >>> _vmap(Use(0, nowhere, True, ("vmap(bi,io->bo)",)))
    'vmap('
    """
    # JAX writes the name that follows into the parentheses: a module, or a formula.
    found = re.match(r"(.*?\bvmap\()([^/)]*)", "/".join(map(str, use.scope)))
    if found is None:
        return ""
    return found[1] if "->" in found[2] else found[0]


def _may_be_mapped(kernel: Kernel) -> bool:
    return 0 in kernel.stack or (0 in kernel.outputs and len(kernel.outputs) > 1)


def _stacked(kernel: Kernel) -> Kernel:
    """The kernel with its first axis in the stack."""
    stack = (0, *(axis for axis in kernel.stack if axis != 0))
    outputs = tuple(axis for axis in kernel.outputs if axis != 0)
    return dataclasses.replace(kernel, stack=stack, outputs=outputs)
