"""MobileNetV2 with torchvision's names."""

from functools import partial

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    Stem,
    classifier,
    conv,
    divisible,
    relu,
    repeated,
)
from dst_jax.models.networks.normalization import batch_norm

__all__ = ["MobileNetV2"]

# Sandler et al. 2018, table 2: expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """MobileNetV2 of Sandler et al. 2018 (arXiv 1801.04381), with torchvision's names.

    An example is `features/2/conv/1/0/kernel`; the taps have the positions of the ReLU6
    modules, such as `features/2/conv/0/2`. The last convolution of a block has **no
    ReLU** after it ("linear bottleneck"). So the first convolution of the next block,
    and the last of the network, read dense maps. Depthwise convolutions, the
    projections after them and the classifier read post-ReLU6 maps.

    Attributes:
      num_classes: number of outputs.
      stem: "imagenet", or "cifar" with stride 1 in the first convolution and in the
        stage of 24 channels, as in kuangliu/pytorch-cifar.
      dropout: dropout rate before the last layer in training.
      width: factor on all channel counts, rounded to multiples of 8; the last 1280 do
        not shrink.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(MobileNetV2().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    3504872
    """

    num_classes: int = 1000
    stem: Stem = "imagenet"
    dropout: float = 0.2
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` updates batch statistics and applies dropout."""
        unit = partial(_unit, train=train, dtype=self.dtype)
        strided = self.stem == "imagenet"
        before = divisible(32 * self.width)
        steps = [partial(unit, before, 3, stride=2 if strided else 1)]
        for expansion, channels, count, stride in STAGES:
            features = divisible(channels * self.width)
            block = partial(
                _InvertedResidual,
                features,
                expansion,
                train=train,
                dtype=self.dtype,
            )
            stride = stride if strided or channels != 24 else 1
            first, *rest = repeated(block, count, stride=stride)
            steps += [partial(first, inputs=before), *rest]
            before = features
        steps.append(partial(unit, divisible(1280 * max(1.0, self.width)), 1))
        x = Chain(steps, name="features")(x).mean((1, 2))
        head = (
            partial(nn.Dropout, self.dropout, deterministic=not train),
            partial(
                classifier,
                self.num_classes,
                kernel_init=nn.initializers.normal(0.01),
                bias_init=nn.initializers.zeros,
                dtype=self.dtype,
            ),
        )
        return Chain(head, name="classifier")(x)


class _InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 per channel, 1x1 to few; a sum if the shapes fit."""

    features: int
    expansion: int
    stride: int
    train: bool
    dtype: DTypeLike | None = None
    inputs: int | None = None  # as many as features if None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inputs = self.features if self.inputs is None else self.inputs
        hidden = self.expansion * inputs
        unit = partial(_unit, train=self.train, dtype=self.dtype)
        steps = [partial(unit, hidden, 1)] if self.expansion != 1 else []
        steps += [
            partial(unit, hidden, 3, stride=self.stride, groups=hidden),
            partial(conv, self.features, 1, dtype=self.dtype),
            partial(batch_norm, train=self.train, dtype=self.dtype),
        ]
        y = Chain(steps, name="conv")(x)
        return x + y if self.stride == 1 and inputs == self.features else y


def _unit(
    features: int,
    size: int,
    *,
    name: str,
    train: bool,
    stride: int = 1,
    groups: int = 1,
    dtype: DTypeLike | None = None,
) -> Chain:
    """Convolution `0`, normalisation `1`, ReLU6 `2`."""
    convolve = partial(
        conv,
        features,
        size,
        stride=stride,
        padding=size // 2,
        groups=groups,
        dtype=dtype,
    )
    norm = partial(batch_norm, train=train, dtype=dtype)
    return Chain((convolve, norm, partial(relu, cap=6.0)), name=name)
