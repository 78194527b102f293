"""DenseNet-121 as torchvision defines it, and as the paper uses it on CIFAR-100."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    ChainStep,
    Rectifier,
    classifier,
    conv,
    default_kernel,
    he_normal_fan_in,
    relu,
    scaled,
    tapped_relu,
)
from dst_jax.models.networks.normalization import batch_norm
from dst_jax.models.networks.pooling import max_pooling, mean_pooling

__all__ = ["CifarDenseNet", "DenseNet"]


class DenseNet(nn.Module):
    """DenseNet-BC of Huang et al. 2017 (arXiv 1608.06993), with torchvision's names.

    An example is `features/denseblock1/denselayer1/conv1/kernel`. Every convolution but
    the first reads a post-ReLU map. The concatenated maps are outputs of convolutions
    and dense.

    Attributes:
      blocks: number of layers in each block.
      num_classes: number of outputs.
      width: factor on the growth rate of 32, and thereby on all channel counts.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(DenseNet((1, 1)).init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    184296
    """

    blocks: tuple[int, ...]
    num_classes: int = 1000
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        x = _named(self._features(train), name="features")(x)
        head = classifier(
            self.num_classes,
            bias_init=nn.initializers.zeros,
            name="classifier",
            dtype=self.dtype,
        )
        return head(tapped_relu(x, name="relu").mean((1, 2)))

    def _features(self, train: bool) -> dict[str, ChainStep]:
        growth = scaled(32, self.width)
        convolve = partial(conv, kernel_init=he_normal_fan_in, dtype=self.dtype)
        norm = partial(batch_norm, train=train, dtype=self.dtype)
        names = ("norm1", "relu1", "conv1", "norm2", "relu2", "conv2")
        layer = partial(_Appended, _bottleneck(growth, convolve, norm), names)
        steps: dict[str, ChainStep] = {
            "conv0": partial(convolve, 2 * growth, 7, stride=2, padding=3),
            "norm0": norm,
            "relu0": relu,
            "pool0": partial(max_pooling, 3, stride=2, padding=1),
        }
        channels = 2 * growth
        for i, count in enumerate(self.blocks, start=1):
            block = {f"denselayer{j + 1}": layer for j in range(count)}
            steps[f"denseblock{i}"] = partial(_named, block)
            channels += count * growth
            if i < len(self.blocks):
                channels //= 2
                transition = {
                    "norm": norm,
                    "relu": relu,
                    "conv": partial(convolve, channels, 1),
                    "pool": partial(mean_pooling, 2),
                }
                steps[f"transition{i}"] = partial(_named, transition)
        return steps | {f"norm{len(self.blocks) + 1}": norm}


class CifarDenseNet(nn.Module):
    """DenseNet of weiaicunzai/pytorch-cifar100, the baseline that Yu & Tian fine-tune.

    The first convolution is 3x3, without normalisation, ReLU or pooling after it. The
    transitions have **no ReLU** before their convolution, whose input is therefore
    dense. There are 2 taps per layer and a last one. The baselines of the paper have
    this form, so it is the default here. An example of a name is
    `features/dense_block_layer_0/bottle_neck_layer_0/bottle_neck/2/kernel`.

    Attributes:
      blocks: number of layers in each block.
      num_classes: number of outputs.
      transition_relu: Whether the transitions have a ReLU (and its tap), as in the
        original DenseNet.
      width: factor on the growth rate of 32, and thereby on all channel counts.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(CifarDenseNet((1, 1)).init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    103588
    """

    blocks: tuple[int, ...]
    num_classes: int = 100
    transition_relu: bool = False
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` uses and updates batch statistics."""
        growth = scaled(32, self.width)
        convolve = partial(conv, kernel_init=default_kernel, dtype=self.dtype)
        x = convolve(2 * growth, 3, padding=1, name="conv1")(x)
        x = _named(self._features(growth, convolve, train), name="features")(x)
        head = classifier(self.num_classes, name="linear", dtype=self.dtype)
        return head(x.mean((1, 2)))

    def _features(
        self, growth: int, convolve: Callable[..., nn.Conv], train: bool
    ) -> dict[str, ChainStep]:
        norm = partial(batch_norm, train=train, dtype=self.dtype)
        bottleneck = partial(Chain, _bottleneck(growth, convolve, norm))
        layer = partial(_Appended, (bottleneck,), ("bottle_neck",))
        steps: dict[str, ChainStep] = {}
        channels, last = 2 * growth, len(self.blocks) - 1
        for i, count in enumerate(self.blocks):
            block = {f"bottle_neck_layer_{j}": layer for j in range(count)}
            name = f"dense_block{i}" if i == last else f"dense_block_layer_{i}"
            steps[name] = partial(_named, block)
            channels += count * growth
            if i < last:
                channels //= 2
                down: dict[str, ChainStep] = {"0": norm}
                if self.transition_relu:
                    down["relu"] = relu
                down["1"] = partial(convolve, channels, 1)
                down["2"] = partial(mean_pooling, 2)
                sample = partial(_named, down)
                transition = partial(_named, {"down_sample": sample})
                steps[f"transition_layer_{i}"] = transition
        return steps | {"bn": norm, "relu": relu}


def _bottleneck(
    growth: int, convolve: Callable[..., nn.Conv], norm: Callable[..., nn.BatchNorm]
) -> Sequence[ChainStep]:
    """Normalisation, ReLU, 1x1, normalisation, ReLU, 3x3."""
    return (
        norm,
        relu,
        partial(convolve, 4 * growth, 1),
        norm,
        relu,
        partial(convolve, growth, 3, padding=1),
    )


class _Appended(Chain):
    """Steps whose output is appended to the channels of their input."""

    def __call__(self, x: Array) -> Array:
        return jnp.concatenate([x, super().__call__(x)], -1)


def _named(steps: dict[str, ChainStep], *, name: str) -> Chain:
    return Chain(tuple(steps.values()), tuple(steps), name=name)
