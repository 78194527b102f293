"""Wide ResNet for 32x32 images; torchvision's wide ResNet-50-2 is in resnet.py."""

from functools import partial

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    classifier,
    conv,
    repeated,
    scaled,
    tapped_relu,
)
from dst_jax.models.networks.normalization import batch_norm

__all__ = ["WideResNet"]


class WideResNet(nn.Module):
    """Wide ResNet of Zagoruyko & Komodakis 2016 (arXiv 1605.07146): WRN-depth-widening.

    Names are those of xternalz/WideResNet-pytorch. Normalisation and ReLU come before
    each convolution. So every convolution but the first reads a post-ReLU map, as do
    the projections (`convShortcut`); the sums themselves are dense.

    Attributes:
      depth: number of layers, 6n + 4.
      widening: factor k on the channels: 16k, 32k and 64k.
      num_classes: number of outputs.
      dropout: dropout rate between the convolutions of a block in training.
      width: factor on all channel counts.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(WideResNet(10, 1).init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    77850
    """

    depth: int
    widening: int
    num_classes: int = 10
    dropout: float = 0.0
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        before = scaled(16, self.width)
        x = conv(before, 3, padding=1, name="conv1", dtype=self.dtype)(x)
        for i in range(3):
            features = scaled(16 * self.widening * 2**i, self.width)
            block = partial(
                _Block,
                features,
                dropout=self.dropout,
                train=train,
                dtype=self.dtype,
            )
            count, stride = (self.depth - 4) // 6, 1 if i == 0 else 2
            first, *rest = repeated(block, count, stride=stride)
            project = stride != 1 or features != before
            blocks = partial(Chain, [partial(first, project=project), *rest])
            x = Chain((blocks,), ("layer",), name=f"block{i + 1}")(x)
            before = features
        x = batch_norm(name="bn1", train=train, dtype=self.dtype)(x)
        x = tapped_relu(x, name="relu").mean((1, 2))
        head = classifier(
            self.num_classes,
            bias_init=nn.initializers.zeros,
            name="fc",
            dtype=self.dtype,
        )
        return head(x)


class _Block(nn.Module):
    """Two 3x3 convolutions, each after normalisation and ReLU."""

    features: int
    stride: int
    dropout: float
    train: bool
    dtype: DTypeLike | None = None
    project: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        conv3 = partial(conv, self.features, 3, padding=1, dtype=self.dtype)
        norm = partial(batch_norm, train=self.train, dtype=self.dtype)
        y = tapped_relu(norm(name="bn1")(x), name="relu1")
        if self.project:
            project = conv(
                self.features,
                1,
                stride=self.stride,
                name="convShortcut",
                dtype=self.dtype,
            )
            x = project(y)  # of the normalised map, not of the sum
        y = conv3(stride=self.stride, name="conv1")(y)
        y = tapped_relu(norm(name="bn2")(y), name="relu2")
        y = nn.Dropout(self.dropout, deterministic=not self.train)(y)
        return x + conv3(name="conv2")(y)
