"""GoogLeNet as torchvision defines it, for ImageNet."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    classifier,
    conv,
    dense,
    flatten,
    scaled,
    tapped_relu,
)
from dst_jax.models.networks.normalization import batch_norm
from dst_jax.models.networks.pooling import adaptive_mean_pool, max_pool, max_pooling

__all__ = ["CHANNELS", "GoogLeNet"]

# Szegedy et al. 2015, table 1: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pooled.
CHANNELS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

normal = nn.initializers.normal(0.01)


class GoogLeNet(nn.Module):
    """GoogLeNet of Szegedy et al. 2015 (arXiv 1409.4842), as torchvision defines it.

    Every convolution has batch normalisation with eps 0.001 and no bias; kernels are
    3x3 where the paper has 5x5. Every convolution but the first reads post-ReLU maps.
    In max pooling, the last window may extend beyond the map (`ceil_mode`).

    Attributes:
      num_classes: number of outputs.
      aux_logits: Whether the network has the auxiliary heads `aux1` and `aux2`. They
        run in training only, with the taps on their maps; their logits are sown as
        `intermediates/aux1/logits`.
      transform_input: Whether images normalised with ImageNet's mean and deviation are
        rescaled to (x - 0.5) / 0.5, which torchvision's pretrained weights expect.
      bn_eps: epsilon of all batch normalisations.
      dropout: dropout rate before the last layer in training, 0.7 in
        the auxiliary heads.
      width: factor on all channel counts.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    >>> variables = jax.eval_shape(GoogLeNet().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    6624904
    """

    num_classes: int = 1000
    aux_logits: bool = False
    transform_input: bool = False
    bn_eps: float = 1e-3
    dropout: float = 0.2
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` updates batch statistics and applies dropout."""
        if self.transform_input:
            mean = jnp.array([[[[0.485, 0.456, 0.406]]]])
            deviation = jnp.array([[[[0.229, 0.224, 0.225]]]])
            x = x * (deviation / 0.5) + (mean - 0.5) / 0.5
        block = partial(_ConvBlock, train=train, eps=self.bn_eps, dtype=self.dtype)
        x = block(scaled(64, self.width), 7, 2, 3, name="conv1")(x)
        x = max_pool(x, 3, stride=2, ceil=True)
        x = block(scaled(64, self.width), 1, name="conv2")(x)
        x = block(scaled(192, self.width), 3, padding=1, name="conv3")(x)
        x = max_pool(x, 3, stride=2, ceil=True)
        for name, channels in CHANNELS.items():
            if name == "4a":
                x = max_pool(x, 3, stride=2, ceil=True)
            if name == "5a":
                x = max_pool(x, 2, stride=2, ceil=True)
            sizes = tuple(scaled(c, self.width) for c in channels)
            x = _Inception(sizes, block, name=f"inception{name}")(x)
            if name in ("4a", "4d"):
                self._auxiliary(x, "aux1" if name == "4a" else "aux2", train=train)
        x = nn.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
        fc = classifier(
            self.num_classes, kernel_init=normal, name="fc", dtype=self.dtype
        )
        return fc(x)

    def _auxiliary(self, x: Array, name: str, *, train: bool) -> None:
        if not self.aux_logits or not (train or self.is_initializing()):
            return
        head = _Auxiliary(
            self.num_classes, train, self.bn_eps, self.width, self.dtype, name=name
        )
        head(x)


class _ConvBlock(nn.Module):
    """A convolution without bias, normalisation and ReLU: `conv`, `bn`, tap `relu`."""

    features: int
    size: int
    stride: int = 1
    padding: int = 0
    train: bool = False
    eps: float = 1e-3
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        convolve = conv(
            self.features,
            self.size,
            stride=self.stride,
            padding=self.padding,
            kernel_init=normal,
            name="conv",
            dtype=self.dtype,
        )
        norm = batch_norm(name="bn", train=self.train, eps=self.eps, dtype=self.dtype)
        return tapped_relu(norm(convolve(x)), name="relu")


class _Inception(nn.Module):
    """Four parallel branches: 1x1; 1x1, 3x3; 1x1, 3x3; pool, 1x1."""

    channels: tuple[int, ...]
    block: partial[_ConvBlock]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        one, reduced3, three, reduced5, five, pooled = self.channels
        block = self.block
        pool = partial(max_pooling, 3, stride=1, padding=1)
        branches = (
            block(one, 1, name="branch1"),
            Chain(
                (partial(block, reduced3, 1), partial(block, three, 3, padding=1)),
                name="branch2",
            ),
            Chain(
                (partial(block, reduced5, 1), partial(block, five, 3, padding=1)),
                name="branch3",
            ),
            Chain((pool, partial(block, pooled, 1)), name="branch4"),
        )
        return jnp.concatenate([branch(x) for branch in branches], -1)


class _Auxiliary(nn.Module):
    """4x4 means, `conv`, `fc1`, ReLU, `fc2`; its logits are sown."""

    num_classes: int
    train: bool
    eps: float
    width: float
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> None:
        x = adaptive_mean_pool(x, 4)
        block = _ConvBlock(
            scaled(128, self.width),
            1,
            train=self.train,
            eps=self.eps,
            name="conv",
            dtype=self.dtype,
        )
        x = flatten(block(x))
        fc1 = dense(
            scaled(1024, self.width),
            fan_in=x.shape[-1],
            kernel_init=normal,
            name="fc1",
            dtype=self.dtype,
        )
        x = fc1(x)
        x = tapped_relu(x, name="relu")
        x = nn.Dropout(0.7, deterministic=not self.train)(x)
        fc2 = classifier(
            self.num_classes, kernel_init=normal, name="fc2", dtype=self.dtype
        )
        self.sow("intermediates", "logits", fc2(x))
