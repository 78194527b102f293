"""Which equations multiply, in sight or out of sight."""

import functools
import sys
from collections.abc import Iterator

from jax.extend import core

from dst_jax.jaxprs.calls import bodies, called, has_rule, name_of
from dst_jax.jaxprs.module_paths import Path, path_of
from dst_jax.jaxprs.mutable_loops import HIJAX, is_mutable

__all__ = [
    "PRODUCTS",
    "is_hidden",
    "is_opaque",
    "multiplies",
    "reads_mutable",
    "refuse_hidden",
]

PRODUCTS = frozenset({"conv_general_dilated", "dot_general"})
"""Primitives that a visitor is shown."""

BODIES = frozenset({"cond", "scan", "shard_map", "while"})
"""Primitives with bodies that every analysis follows or refuses, besides calls."""

# These multiply matrices out of sight: to pass over them would undercount.
OPAQUE = frozenset(
    {
        # Kernels, and programs that JAX does not see into.
        "call_exported",
        "call_hi_primitive_linearized",
        "cudnn_fusion",
        "dot_product_attention_bwd",
        "dot_product_attention_fp8_bwd",
        "dot_product_attention_fp8_fwd",
        "dot_product_attention_fwd",
        "ffi_call",
        "io_callback",
        "mosaic_gpu_p",
        "pallas_call",
        "pure_callback",
        "ragged_dot",
        "ragged_dot_general",
        "scaled_dot",
        "scaled_matmul",
        "scaled_matmul_wrapper",
        "tpu_custom_call",
        # Sparse operands.
        "bcoo_dot_general",
        "bcoo_dot_general_sampled",
        "bcoo_spdot_general",
        "bcsr_dot_general",
        "coo_matmat",
        "coo_matvec",
        "coo_spmm",
        "coo_spmv",
        "csr_matmat",
        "csr_matvec",
        "csr_spmm",
        "csr_spmv",
        "spsolve",
        # Linear algebra and transforms.
        "cholesky",
        "cholesky_update",
        "eig",
        "eigh",
        "fft",
        "geqp3",
        "geqrf",
        "hessenberg",
        "householder_product",
        "lu",
        "ormqr",
        "qr",
        "schur",
        "svd",
        "symmetric_product",
        "triangular_solve",
        "tridiagonal",
        "tridiagonal_solve",
    }
)


def is_opaque(eqn: core.JaxprEqn) -> bool:
    """Whether an equation may multiply matrices in a way that is not seen.

    So may any primitive that JAX does not define, unless a rule is registered for it.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.lax.linalg.cholesky)(jax.numpy.eye(2))
    >>> {eqn.primitive.name for eqn in program.eqns if is_opaque(eqn)}
    {'cholesky'}
    """
    primitive = eqn.primitive
    if has_rule(primitive):
        return False
    if primitive.name == HIJAX:
        return not bodies(eqn)
    return primitive.name in OPAQUE or not _is_of_jax(primitive)


def multiplies(eqn: core.JaxprEqn) -> bool:
    """Whether anything in the jaxprs of an equation has to be counted.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.jit(lambda x: x @ x))(jax.numpy.eye(2))
    >>> multiplies(program.eqns[0])
    True
    """
    return any(
        inner.primitive.name in PRODUCTS or is_opaque(inner) or multiplies(inner)
        for body in bodies(eqn)
        for inner in body.eqns
    )


def reads_mutable(eqn: core.JaxprEqn) -> bool:
    """Whether an operand is a mutable array (`jax.Ref`), which equations write to.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: jax.new_ref(x)[...])(1.0)
    >>> [reads_mutable(eqn) for eqn in program.eqns]
    [False, True]
    """
    return any(is_mutable(atom.aval) for atom in eqn.invars)


def is_hidden(eqn: core.JaxprEqn) -> bool:
    """Whether an equation, which is no product, has products that cannot be counted.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.jit(lambda x: x @ x))(jax.numpy.eye(2))
    >>> is_hidden(program.eqns[0])
    False
    """
    if is_opaque(eqn):
        return True
    if not multiplies(eqn):
        return False
    if reads_mutable(eqn):
        return True
    name = eqn.primitive.name
    if name == "shard_map":
        return not eqn.params["check_vma"]
    return name not in BODIES and called(eqn) is None


def refuse_hidden(jaxpr: core.Jaxpr) -> None:
    """Refuses a program with products that cannot be counted, by their names.

    Raises:
      ValueError: there are such products.

    >>> import jax
    >>> refuse_hidden(jax.make_jaxpr(jax.numpy.linalg.cholesky)(jax.numpy.eye(2)).jaxpr)
    Traceback (most recent call last):
    ValueError: cost.count cannot count the multiplications of 'cholesky': it counts ...
    """
    found = sorted(_hidden(jaxpr, ()), key=lambda item: item[0])
    if not found:
        return
    names = " and ".join(map(repr, dict.fromkeys(name for name, _ in found)))
    path = found[0][1]
    raise ValueError(
        f"cost.count cannot count the multiplications of {names}"
        f"{' in ' + '/'.join(path) if path else ''}: it counts "
        f"{' and '.join(sorted(PRODUCTS))}, also inside jit, remat, custom "
        "derivatives, loops, branches and shard_map(check_vma=True), but not where "
        "loops write to mutable arrays (jax.Ref); cost.register takes a rule for a "
        "primitive, and opaque='list' lists them"
    )


def _hidden(jaxpr: core.Jaxpr, path: Path) -> Iterator[tuple[str, Path]]:
    for eqn in jaxpr.eqns:
        here = (*path, *path_of(eqn.source_info.name_stack))
        if eqn.primitive.name in PRODUCTS:
            continue
        if is_hidden(eqn):
            yield name_of(eqn), here
        elif multiplies(eqn):
            for body in bodies(eqn):
                yield from _hidden(body, here)


def _is_of_jax(primitive: core.Primitive) -> bool:
    return primitive in _primitives(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _primitives(imported: int) -> frozenset[core.Primitive]:
    """The primitives that the modules of JAX define, when so many are imported."""
    del imported
    return frozenset(
        value
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("jax", "jaxlib")
        for value in vars(module).values()
        if isinstance(value, core.Primitive)
    )
