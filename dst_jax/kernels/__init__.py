"""Which leaves of a tree are kernels, and what each of their axes means.

A kernel is a leaf that a matrix product or a convolution multiplies with data. Its
axes are those that are contracted (inputs), those that are free (outputs), the window
of a convolution, and the stack: axes along which one array holds independent layers,
as `scan` and `vmap` keep them. `by_name` reads all this off names and shapes. `apart`
turns every kernel into its layers in one layout; `together` is its inverse.
"""

from dst_jax.kernels.kernel import Kernel, Kernels
from dst_jax.kernels.layers import apart, of, together
from dst_jax.kernels.names import auxiliary, by_name

__all__ = ["Kernel", "Kernels", "apart", "auxiliary", "by_name", "of", "together"]
