"""Which convolution of the zoo has which derivatives of its own."""

from collections.abc import Callable

from jaxtyping import Array

from dst_jax.models.networks.depthwise import depthwise_conv
from dst_jax.models.networks.pointwise import pointwise_conv
from dst_jax.models.networks.small_maps import small_map_conv

__all__ = ["convolution_of"]


def convolution_of(size: int, groups: int) -> Callable[..., Array]:
    """What takes the place of `conv_general_dilated` in `flax.linen.Conv`.

    Args:
      size: height and width of the kernel.
      groups: number of groups of channels.

    >>> convolution_of(1, 1).__name__, convolution_of(3, 1).__name__
    ('pointwise_conv', 'small_map_conv')
    """
    if groups > 1:
        return depthwise_conv
    return pointwise_conv if size == 1 else small_map_conv
