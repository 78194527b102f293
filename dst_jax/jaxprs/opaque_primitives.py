"""Primitives that may multiply matrices out of sight, and why they are not counted."""

import functools
import sys

from jax.extend import core

__all__ = ["OPAQUE", "is_of_jax"]

_FOREIGN = "JAX does not see into this kernel or program"
_SPARSE = "its sparse format is not counted (BCOO and BCSR are)"
_ALGEBRA = "its number of multiplications depends on the algorithm"
_UNIT = "it gives matrices to the matrix unit of a device"

OPAQUE: dict[str, str] = {
    **dict.fromkeys(
        (
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
            "pure_callback",
            "tpu_custom_call",
        ),
        _FOREIGN,
    ),
    # Inside Pallas kernels.
    **dict.fromkeys(
        (
            "conv",
            "inline_mgpu",
            "inline_mgpu_p",
            "matmul_acc_lhs",
            "matmul_lhs_fifo",
            "matmul_pop",
            "matmul_pop_fifo",
            "matmul_push_rhs",
            "mma",
            "tcgen05_mma",
            "wgmma",
        ),
        _UNIT,
    ),
    **dict.fromkeys(
        (
            "coo_matmat",
            "coo_matvec",
            "coo_spmm",
            "coo_spmv",
            "csr_matmat",
            "csr_matvec",
            "csr_spmm",
            "csr_spmv",
            "spsolve",
        ),
        _SPARSE,
    ),
    **dict.fromkeys(
        (
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
        ),
        _ALGEBRA,
    ),
}
"""By name, why the multiplications of a primitive cannot be counted."""


def is_of_jax(primitive: core.Primitive) -> bool:
    """Whether a module of JAX defines a primitive.

    >>> is_of_jax(core.primitives.dot_general_p), is_of_jax(core.Primitive("own"))
    (True, False)
    """
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
