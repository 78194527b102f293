"""U-Net for dense prediction."""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    biased_conv,
    relu,
    scaled,
    torch_uniform,
)
from dst_jax.models.networks.pooling import max_pool

__all__ = ["UNet", "UpConv"]


class UNet(nn.Module):
    """U-Net of Ronneberger et al. 2015 (arXiv 1505.04597) with padding, as in CRISP.

    Names are those of jvanvugt/pytorch-unet: `down_path/0/block/0`, `up_path/0/up`,
    `up_path/0/conv_block/block/0`, `last`. Every cell is two 3x3 convolutions with
    ReLU and without normalisation. The first convolution of a decoder's cell reads two
    concatenated maps: the upsampled one without ReLU, the encoder's with ReLU.

    Attributes:
      num_classes: number of outputs per pixel.
      depth: number of resolutions, each half the one before.
      width: factor on all channel counts. At width 1 there are 64 channels at full
        resolution; each halving doubles them.
      dtype: compute dtype; parameters stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(UNet().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    31031810
    """

    num_classes: int = 2
    depth: int = 5
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch height width classes"]:
        """Logits of every pixel in float32; `train` changes nothing.

        Raises:
          ValueError: height or width is no multiple of 2^(depth - 1).
        """
        del train
        multiple = 2 ** (self.depth - 1)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(
                f"height and width must be multiples of {multiple} for depth"
                f" {self.depth}, got {x.shape[1:3]}"
            )
        sizes = [scaled(64 * 2**i, self.width) for i in range(self.depth)]
        maps = _Encoder(sizes, self.dtype, name="down_path")(x)
        x = _Decoder(sizes, self.dtype, name="up_path")(maps)
        head = biased_conv(sizes[0], self.num_classes, 1, name="last", dtype=self.dtype)
        return head(x).astype(jnp.float32)


class _Encoder(nn.Module):
    """Cells `0`, `1`, ... with 2x2 max pooling between them."""

    sizes: Sequence[int]
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        """The map of every resolution, the finest first."""
        maps = []
        for i, size in enumerate(self.sizes):
            x = max_pool(x, 2, stride=2) if i else x
            x = _cell(x.shape[-1], size, name=str(i), dtype=self.dtype)(x)
            maps.append(x)
        return maps


class _Decoder(nn.Module):
    """Upsamples from the coarsest map; each step also reads the encoder's map."""

    sizes: Sequence[int]
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, maps: Sequence[Array]) -> Array:
        *finer, x = maps
        for i, (size, bridge) in enumerate(
            zip(self.sizes[-2::-1], finer[::-1], strict=True)
        ):
            x = _Up(size, self.dtype, name=str(i))(x, bridge)
        return x


class _Up(nn.Module):
    features: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, bridge: Array) -> Array:
        x = UpConv(self.features, self.dtype, name="up")(x)
        x = jnp.concatenate([x, bridge], -1)
        return _cell(x.shape[-1], self.features, name="conv_block", dtype=self.dtype)(x)


def _cell(
    inputs: int, features: int, *, name: str, dtype: DTypeLike | None
) -> nn.Module:
    conv3 = partial(biased_conv, features=features, size=3, padding=1, dtype=dtype)
    steps = [partial(conv3, inputs), relu, partial(conv3, features), relu]
    return Chain((partial(Chain, steps),), ("block",), name=name)


class UpConv(nn.Module):
    """A 2x2 transposed convolution with stride 2: one pixel becomes four.

        y[2 i + a, 2 j + b] = bias + x[i, j] @ kernel[a, b]

    Windows do not overlap, so this is a matrix product. `nn.ConvTranspose` would be a
    convolution over a map that is three quarters zeros, and would be counted as one.

    Attributes:
      features: number of output channels.
      dtype: compute dtype; parameters stay float32.

    >>> layer, x = UpConv(8), jnp.ones((1, 3, 3, 4))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> y.shape, variables["params"]["kernel"].shape
    ((1, 6, 6, 8), (2, 2, 4, 8))
    """

    features: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"]
    ) -> Float[Array, "batch h2 w2 features"]:
        """Returns the map with twice the height and width."""
        n, h, w, channels = x.shape
        init = torch_uniform(4 * self.features)  # PyTorch takes fan-in from axis 1
        kernel = self.param("kernel", init, (2, 2, channels, self.features))
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = jax.lax.dot_general(x, kernel, (((3,), (2,)), ((), ())))
        y = y.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, self.features)
        return y + bias[None, None, None]
