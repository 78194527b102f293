"""ResNet-18/34/50 and the wide ResNet-50-2 with torchvision's names and padding."""

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
    repeated,
    scaled,
    tapped_relu,
)
from dst_jax.models.networks.normalization import batch_norm
from dst_jax.models.networks.pooling import max_pool

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "WideBottleneck"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; taps `relu1`, `relu2` (after the addition).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> block, x = BasicBlock(8, stride=2, train=False), jnp.ones((1, 4, 4, 8))
    >>> y, _ = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
    >>> y.shape
    (1, 2, 2, 8)
    """

    features: int
    stride: int
    train: bool
    dtype: DTypeLike | None = None
    first: bool = False  # of its group, where the expansion changes the channels
    expansion = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"]
    ) -> Float[Array, "batch h2 w2 c2"]:
        """Returns the block's output."""
        conv3 = partial(conv, self.features, 3, padding=1, dtype=self.dtype)
        norm = partial(batch_norm, train=self.train, dtype=self.dtype)
        y = conv3(stride=self.stride, name="conv1")(x)
        y = tapped_relu(norm(name="bn1")(y), name="relu1")
        y = norm(name="bn2")(conv3(name="conv2")(y))
        return tapped_relu(y + _shortcut(self, x), name="relu2")


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride (v1.5), 1x1 to 4 x `features`; taps `relu1` to `relu3`.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> block, x = Bottleneck(8, stride=2, train=False), jnp.ones((1, 4, 4, 8))
    >>> y, _ = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
    >>> y.shape
    (1, 2, 2, 32)
    """

    features: int
    stride: int
    train: bool
    dtype: DTypeLike | None = None
    first: bool = False  # of its group, where the expansion changes the channels
    expansion = 4
    inner = 1  # channels of the 3x3 convolution, in `features`

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"]
    ) -> Float[Array, "batch h2 w2 c2"]:
        """Returns the block's output."""
        inner, outer = self.inner * self.features, self.expansion * self.features
        convolve = partial(conv, dtype=self.dtype)
        norm = partial(batch_norm, train=self.train, dtype=self.dtype)
        y = convolve(inner, 1, name="conv1")(x)
        y = tapped_relu(norm(name="bn1")(y), name="relu1")
        y = convolve(inner, 3, stride=self.stride, padding=1, name="conv2")(y)
        y = tapped_relu(norm(name="bn2")(y), name="relu2")
        y = norm(name="bn3")(convolve(outer, 1, name="conv3")(y))
        return tapped_relu(y + _shortcut(self, x), name="relu3")


class WideBottleneck(Bottleneck):
    """A bottleneck with twice the channels in the 3x3 convolution (arXiv 1605.07146).

    >>> WideBottleneck(64, stride=1, train=False).inner
    2
    """

    inner = 2


class ResNet(nn.Module):
    """ResNet of He et al. 2016 (arXiv 1512.03385), as torchvision builds and names it.

    Parameter paths are torchvision's with `/` for `.`: `layer1/0/conv1/kernel`. Every
    convolution but the first reads a post-ReLU map, the second one after max pooling.

    Attributes:
      block: class of the blocks: `BasicBlock` (18, 34), `Bottleneck` (50; stride on the
        3x3, "v1.5") or `WideBottleneck` (wide 50-2).
      blocks: number of blocks in each group.
      num_classes: number of outputs.
      stem: "imagenet" (7x7 stride 2 and max pooling) or "cifar" (3x3 stride 1).
      width: factor on all channel counts, 1 for the published networks.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> resnet18 = ResNet(BasicBlock, (2, 2, 2, 2))
    >>> variables = jax.eval_shape(resnet18.init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    11689512
    """

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, ...]
    num_classes: int = 1000
    stem: Stem = "imagenet"
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        features = scaled(64, self.width)
        if self.stem == "imagenet":
            first = conv(
                features, 7, stride=2, padding=3, name="conv1", dtype=self.dtype
            )
        else:
            first = conv(features, 3, padding=1, name="conv1", dtype=self.dtype)
        x = batch_norm(name="bn1", train=train, dtype=self.dtype)(first(x))
        x = tapped_relu(x, name="relu")
        if self.stem == "imagenet":
            x = max_pool(x, 3, stride=2, padding=1)
        for i, blocks in enumerate(self.blocks):
            block = partial(self.block, features * 2**i, train=train, dtype=self.dtype)
            first, *rest = repeated(block, blocks, stride=1 if i == 0 else 2)
            steps = [partial(first, first=True), *rest]
            x = Chain(steps, name=f"layer{i + 1}")(x)
        head = classifier(self.num_classes, name="fc", dtype=self.dtype)
        return head(x.mean((1, 2)))


def _shortcut(
    block: BasicBlock | Bottleneck, x: Float[Array, "batch h w c"]
) -> Float[Array, "batch h2 w2 c2"]:
    if block.stride == 1 and not (block.first and block.expansion != 1):
        return x
    features = block.features * block.expansion
    steps = (
        partial(conv, features, 1, stride=block.stride, dtype=block.dtype),
        partial(batch_norm, train=block.train, dtype=block.dtype),
    )
    return Chain(steps, name="downsample")(x)
