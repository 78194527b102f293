"""ResNet-18/34/50 with torchvision's names and padding."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.layers import batch_norm, conv, dense, max_pool, tapped_relu

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "Stem"]

Stem = Literal["imagenet", "cifar"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; taps `relu1`, `relu2` (after the addition)."""

    features: int
    stride: int
    dtype: DTypeLike | None = None
    expansion = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], *, train: bool
    ) -> Float[Array, "batch h2 w2 c2"]:
        """Returns the block's output."""
        y = conv(
            self.features,
            3,
            stride=self.stride,
            padding=1,
            name="conv1",
            dtype=self.dtype,
        )(x)
        y = batch_norm(name="bn1", train=train, dtype=self.dtype)(y)
        y = tapped_relu(y, name="relu1")
        y = conv(self.features, 3, padding=1, name="conv2", dtype=self.dtype)(y)
        y = batch_norm(name="bn2", train=train, dtype=self.dtype)(y)
        return tapped_relu(y + _shortcut(self, x, train=train), name="relu2")


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride (v1.5), 1x1 times 4; taps `relu1`, `relu2`, `relu3`."""

    features: int
    stride: int
    dtype: DTypeLike | None = None
    expansion = 4

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], *, train: bool
    ) -> Float[Array, "batch h2 w2 c2"]:
        """Returns the block's output."""
        y = conv(self.features, 1, name="conv1", dtype=self.dtype)(x)
        y = batch_norm(name="bn1", train=train, dtype=self.dtype)(y)
        y = tapped_relu(y, name="relu1")
        y = conv(
            self.features,
            3,
            stride=self.stride,
            padding=1,
            name="conv2",
            dtype=self.dtype,
        )(y)
        y = batch_norm(name="bn2", train=train, dtype=self.dtype)(y)
        y = tapped_relu(y, name="relu2")
        y = conv(4 * self.features, 1, name="conv3", dtype=self.dtype)(y)
        y = batch_norm(name="bn3", train=train, dtype=self.dtype)(y)
        return tapped_relu(y + _shortcut(self, x, train=train), name="relu3")


class Downsample(nn.Module):
    """The projection shortcut: 1x1 convolution `0` and normalisation `1`."""

    features: int
    stride: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], *, train: bool
    ) -> Float[Array, "batch h2 w2 c2"]:
        """Returns the projected input."""
        x = conv(self.features, 1, stride=self.stride, name="0", dtype=self.dtype)(x)
        return batch_norm(name="1", train=train, dtype=self.dtype)(x)


class BlockGroup(nn.Module):
    """Blocks `0`, `1`, ... at one resolution: torchvision's `layer1` to `layer4`."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: int
    features: int
    stride: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], *, train: bool
    ) -> Float[Array, "batch h2 w2 c2"]:
        """Returns the last block's output."""
        for i in range(self.blocks):
            stride = self.stride if i == 0 else 1
            x = self.block(self.features, stride, self.dtype, name=str(i))(
                x, train=train
            )
        return x


class ResNet(nn.Module):
    """He et al. 2016 (arXiv 1512.03385), as torchvision builds and names it.

    Parameter paths are torchvision's with `/` for `.`: `layer1/0/conv1/kernel`.

    Attributes:
      block: `BasicBlock` (18, 34) or `Bottleneck` (50; stride on the 3x3, "v1.5").
      blocks: blocks per group.
      num_classes: outputs.
      stem: "imagenet" (7x7 stride 2 and max pooling) or "cifar" (3x3 stride 1).
      width: factor on all channel counts, 1 for the published networks.
      dtype: the compute dtype; parameters and statistics stay float32.
    """

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, ...]
    num_classes: int = 1000
    stem: Stem = "imagenet"
    width: float = 1.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        features = max(round(64 * self.width), 1)
        if self.stem == "imagenet":
            x = conv(features, 7, stride=2, padding=3, name="conv1", dtype=self.dtype)(
                x
            )
        else:
            x = conv(features, 3, padding=1, name="conv1", dtype=self.dtype)(x)
        x = batch_norm(name="bn1", train=train, dtype=self.dtype)(x)
        x = tapped_relu(x, name="relu")
        if self.stem == "imagenet":
            x = max_pool(x, 3, stride=2, padding=1)
        for i, blocks in enumerate(self.blocks):
            x = BlockGroup(
                self.block,
                blocks,
                features * 2**i,
                1 if i == 0 else 2,
                self.dtype,
                name=f"layer{i + 1}",
            )(x, train=train)
        x = x.mean((1, 2))
        fc = dense(self.num_classes, fan_in=x.shape[-1], name="fc", dtype=self.dtype)
        return fc(x).astype(jnp.float32)


def _shortcut(
    block: BasicBlock | Bottleneck, x: Float[Array, "batch h w c"], *, train: bool
) -> Float[Array, "batch h2 w2 c2"]:
    features = block.features * block.expansion
    if block.stride == 1 and x.shape[-1] == features:
        return x
    project = Downsample(features, block.stride, block.dtype, name="downsample")
    return project(x, train=train)
