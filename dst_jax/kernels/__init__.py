"""Which leaves of a tree are kernels, and what each of their axes means.

A kernel is a leaf that a matrix product or a convolution multiplies with data. Its
axes are those that are contracted (inputs), those that are free (outputs), the window
of a convolution, and the stack: axes along which one array holds independent layers,
as `scan` and `vmap` keep them. `by_use` reads all this off the trace of a function,
`by_name` off names and shapes. `apart` turns every kernel into its layers in one
layout; `together` is its inverse.
"""

from dst_jax.kernels.canonical_layout import apart, of, together
from dst_jax.kernels.kernel import COLLECTIONS, Kernel, Kernels, auxiliary
from dst_jax.kernels.kernel_names import by_name
from dst_jax.kernels.kernel_uses import by_use

__all__ = [
    "COLLECTIONS",
    "Kernel",
    "Kernels",
    "apart",
    "auxiliary",
    "by_name",
    "by_use",
    "of",
    "together",
]
