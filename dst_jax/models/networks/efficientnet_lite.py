"""EfficientNet-Lite with timm's names."""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    classifier,
    conv,
    divisible,
    he_normal_of_channel,
    repeated,
    tapped_relu,
)
from dst_jax.models.networks.normalization import BatchNorm, batch_norm

__all__ = ["EfficientNetLite"]

# Tan & Le 2019, table 1: expansion, size of the kernel, channels, stride of the first
# block. How many blocks a stage has is the network's attribute.
STAGES = (
    (1, 3, 16, 1),
    (6, 3, 24, 2),
    (6, 5, 40, 2),
    (6, 3, 80, 2),
    (6, 5, 112, 1),
    (6, 5, 192, 2),
    (6, 3, 320, 1),
)
STEM, HEAD = 32, 1280


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite: EfficientNet of Tan & Le 2019 (arXiv 1905.11946) with ReLU6.

    It has neither squeeze-and-excitation nor swish, and stem and head keep their
    channels at every width (tensorflow/tpu, models/official/efficientnet/lite). The
    names are those of timm's `tf_efficientnet_lite0`: `conv_stem`,
    `blocks/1/0/conv_pwl`, `conv_head`, `classifier`. The importer also knows those of
    the package `efficientnet_lite_pytorch`, whose padding, epsilon, momentum and
    drop-connect are the ones here. As in MobileNetV2, the last convolution of a block
    has **no ReLU** after it: the first convolution of the next block and `conv_head`
    read dense maps.

    A convolution with stride 2 is padded as TensorFlow's 'SAME' pads an even side: a
    3x3 one by 0 before and 1 after, a 5x5 one by 1 and 2. Sides that are multiples of
    32 are even throughout; at other sizes the padding stays what it is at 224 pixels.

    Attributes:
      blocks: number of blocks in each of the seven stages.
      num_classes: number of outputs.
      dropout: dropout rate before the last layer in training.
      drop_connect: rate at which the last block with a sum is left out for an example
        in training ("stochastic depth"); earlier ones in proportion to their place.
      width: factor on the channels between stem and head, rounded to multiples of 8.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> net = EfficientNetLite((1, 2, 2, 3, 3, 4, 1))
    >>> variables = jax.eval_shape(net.init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    4652008
    """

    blocks: Sequence[int]
    num_classes: int = 1000
    dropout: float = 0.2
    drop_connect: float = 0.2
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` updates batch statistics and drops at random."""
        norm = partial(_batch_norm, train=train, dtype=self.dtype)
        first = conv(
            STEM, 3, stride=2, padding=(0, 1), name="conv_stem", dtype=self.dtype
        )
        x = tapped_relu(norm(name="bn1")(first(x)), name="relu1", cap=6.0)
        x = Chain(self._stages(train=train), name="blocks")(x)
        last = conv(HEAD, 1, name="conv_head", dtype=self.dtype)
        x = tapped_relu(norm(name="bn2")(last(x)), name="relu2", cap=6.0).mean((1, 2))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        head = classifier(
            self.num_classes,
            bias_init=nn.initializers.zeros,
            name="classifier",
            dtype=self.dtype,
        )
        return head(x)

    def _stages(self, *, train: bool) -> list[partial[Chain]]:
        """The stages as steps of a `Chain`."""
        stages, count = [], 0
        for (expansion, size, channels, stride), repeats in zip(
            STAGES, self.blocks, strict=True
        ):
            block = partial(
                _InvertedResidual,
                divisible(channels * self.width),
                expansion,
                size,
                train=train,
                dtype=self.dtype,
            )
            steps = [
                partial(step, drop=self.drop_connect * (count + i) / sum(self.blocks))
                for i, step in enumerate(repeated(block, repeats, stride=stride))
            ]
            stages.append(partial(Chain, steps))
            count += repeats
        return stages


class _InvertedResidual(nn.Module):
    """1x1 to more channels, a window per channel, 1x1 to few; a sum if shapes fit.

    Without expansion the first convolution is missing and the last is `conv_pw`.
    """

    features: int
    expansion: int
    size: int
    stride: int
    train: bool
    drop: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        norm = partial(_batch_norm, train=self.train, dtype=self.dtype)
        inputs, expands = x.shape[-1], int(self.expansion != 1)
        hidden, y = self.expansion * inputs, x
        if expands:
            y = norm(name="bn1")(conv(hidden, 1, name="conv_pw", dtype=self.dtype)(y))
            y = tapped_relu(y, name="relu1", cap=6.0)
        half = self.size // 2
        depthwise = conv(
            hidden,
            self.size,
            stride=self.stride,
            padding=half if self.stride == 1 else (half - 1, half),
            groups=hidden,
            kernel_init=he_normal_of_channel,
            name="conv_dw",
            dtype=self.dtype,
        )
        y = norm(name=f"bn{expands + 1}")(depthwise(y))
        y = tapped_relu(y, name=f"relu{expands + 1}", cap=6.0)
        name = "conv_pwl" if expands else "conv_pw"
        y = conv(self.features, 1, name=name, dtype=self.dtype)(y)
        y = norm(name=f"bn{expands + 2}")(y)
        if self.stride != 1 or inputs != self.features:
            return y
        # One draw for all of an example: its block is left out, or scaled up.
        axes = tuple(range(1, y.ndim))
        drop = nn.Dropout(self.drop, broadcast_dims=axes, deterministic=not self.train)
        return x + drop(y)


def _batch_norm(*, name: str, train: bool, dtype: DTypeLike | None) -> BatchNorm:
    """Batch normalisation with the constants of the published weights."""
    return batch_norm(name=name, train=train, eps=1e-3, momentum=0.99, dtype=dtype)
