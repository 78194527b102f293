"""ResNet-20/32/44/56/110 for 32x32 images."""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks import layers
from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    classifier,
    he_normal_fan_in,
    repeated,
    scaled,
    tapped_relu,
)
from dst_jax.models.networks.normalization import batch_norm

__all__ = ["CifarResNet", "Shortcut"]

Shortcut = Literal["A", "B"]

conv = partial(layers.conv, kernel_init=he_normal_fan_in)


class CifarResNet(nn.Module):
    """He et al. 2016 (arXiv 1512.03385), section 4.2: 6n + 2 layers, 16-32-64 channels.

    Names are those of akamaster/pytorch_resnet_cifar10, which has the paper's counts.
    Every convolution but the first reads a post-ReLU map.

    Attributes:
      blocks: number n of blocks in each of the three groups.
      num_classes: number of outputs.
      shortcut: shortcut where the shape changes. "A" takes every second pixel and pads
        the channels with zeros (the paper's, no parameters), "B" projects.
      width: factor on all channel counts.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(CifarResNet(3).init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    269722
    """

    blocks: int
    num_classes: int = 10
    shortcut: Shortcut = "A"
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        first = conv(
            scaled(16, self.width), 3, padding=1, name="conv1", dtype=self.dtype
        )
        x = batch_norm(name="bn1", train=train, dtype=self.dtype)(first(x))
        x = tapped_relu(x, name="relu")
        sizes = [scaled(16 * 2**i, self.width) for i in range(3)]
        for i, size in enumerate(sizes):
            block = partial(
                _Block,
                size,
                more=size - sizes[i - 1],
                shortcut=self.shortcut,
                train=train,
                dtype=self.dtype,
            )
            steps = repeated(block, self.blocks, stride=1 if i == 0 else 2)
            x = Chain(steps, name=f"layer{i + 1}")(x)
        head = classifier(
            self.num_classes,
            kernel_init=he_normal_fan_in,
            name="linear",
            dtype=self.dtype,
        )
        return head(x.mean((1, 2)))


class _Block(nn.Module):
    """Two 3x3 convolutions; taps `relu1`, `relu2` (after the addition).

    With a stride the block has `more` channels than the one before it.
    """

    features: int
    stride: int
    more: int
    shortcut: Shortcut
    train: bool
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv3 = partial(conv, self.features, 3, padding=1, dtype=self.dtype)
        norm = partial(batch_norm, train=self.train, dtype=self.dtype)
        y = conv3(stride=self.stride, name="conv1")(x)
        y = tapped_relu(norm(name="bn1")(y), name="relu1")
        y = norm(name="bn2")(conv3(name="conv2")(y))
        if self.stride != 1:
            x = self._projected(x) if self.shortcut == "B" else self._padded(x)
        return tapped_relu(y + x, name="relu2")

    def _projected(self, x: Array) -> Array:
        steps = (
            partial(conv, self.features, 1, stride=self.stride, dtype=self.dtype),
            partial(batch_norm, train=self.train, dtype=self.dtype),
        )
        return Chain(steps, name="shortcut")(x)

    def _padded(self, x: Array) -> Array:
        x = x[:, :: self.stride, :: self.stride]
        before = self.more // 2
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, self.more - before)))
