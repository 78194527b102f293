"""MobileNetV1 with timm's names."""

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
    he_normal_of_channel,
    repeated,
    tapped_relu,
)
from dst_jax.models.networks.normalization import batch_norm

__all__ = ["MobileNetV1"]

# Channels and blocks of each stage; every stage but the first begins with stride 2.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))


class MobileNetV1(nn.Module):
    """MobileNetV1 of Howard et al. 2017 (arXiv 1704.04861).

    It is timm's `mobilenetv1_100` with the same names: `conv_stem`,
    `blocks/1/0/conv_dw`, `blocks/1/0/conv_pw`, `classifier`. Every convolution but the
    first reads a post-ReLU map.

    Attributes:
      num_classes: number of outputs.
      stem: "imagenet" (stride 2) or "cifar" (stride 1, for 32x32 images).
      relu_cap: upper bound of the ReLUs: 6.0 for ReLU6, which timm's weights were
        trained with; None for the paper's ReLU.
      width: factor on all channel counts, rounded to multiples of 8.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(MobileNetV1().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    4231976
    """

    num_classes: int = 1000
    stem: Stem = "imagenet"
    relu_cap: float | None = 6.0
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        first = conv(
            divisible(32 * self.width),
            3,
            stride=2 if self.stem == "imagenet" else 1,
            padding=1,
            name="conv_stem",
            dtype=self.dtype,
        )
        x = batch_norm(name="bn1", train=train, dtype=self.dtype)(first(x))
        x = tapped_relu(x, name="relu", cap=self.relu_cap)
        stages = []
        for i, (channels, count) in enumerate(STAGES):
            block = partial(
                _Separable,
                divisible(channels * self.width),
                cap=self.relu_cap,
                train=train,
                dtype=self.dtype,
            )
            steps = repeated(block, count, stride=2 if i else 1)
            stages.append(partial(Chain, steps))
        x = Chain(stages, name="blocks")(x).mean((1, 2))
        head = classifier(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            bias_init=nn.initializers.zeros,
            name="classifier",
            dtype=self.dtype,
        )
        return head(x)


class _Separable(nn.Module):
    """A 3x3 convolution of each channel, then 1x1; taps `relu1`, `relu2`."""

    features: int
    stride: int
    cap: float | None
    train: bool
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        norm = partial(batch_norm, train=self.train, dtype=self.dtype)
        depthwise = conv(
            x.shape[-1],
            3,
            stride=self.stride,
            padding=1,
            groups=x.shape[-1],
            kernel_init=he_normal_of_channel,
            name="conv_dw",
            dtype=self.dtype,
        )
        x = tapped_relu(norm(name="bn1")(depthwise(x)), name="relu1", cap=self.cap)
        pointwise = conv(self.features, 1, name="conv_pw", dtype=self.dtype)
        return tapped_relu(norm(name="bn2")(pointwise(x)), name="relu2", cap=self.cap)
