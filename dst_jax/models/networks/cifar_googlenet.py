"""GoogLeNet as the paper uses it on CIFAR-100."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.googlenet import CHANNELS
from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    biased_conv,
    classifier,
    conv,
    default_kernel,
    relu,
    scaled,
)
from dst_jax.models.networks.normalization import batch_norm
from dst_jax.models.networks.pooling import max_pool, max_pooling

__all__ = ["CifarGoogLeNet"]


class CifarGoogLeNet(nn.Module):
    """GoogLeNet of weiaicunzai/pytorch-cifar100, the baseline that Yu & Tian fine-tune.

    It begins with three 3x3 convolutions, has two 3x3 for each 5x5 and no auxiliary
    heads. Names are such as `prelayer/0/kernel` and `a3/b2/3/kernel`. Every convolution
    but the first reads post-ReLU maps.

    In that code, the first of the two 3x3 in the third branch has a batch normalisation
    whose eps is its channel count, 32 to 128 (the count is given twice): the map is
    divided by sqrt(variance + channels). The baselines of the paper have it, so it is
    the default here.

    Attributes:
      num_classes: number of outputs.
      large_eps: Whether that eps is the channel count; otherwise it is 1e-5, as in all
        other normalisations.
      dropout: dropout rate before the last layer in training.
      width: factor on all channel counts.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(CifarGoogLeNet().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    6402564
    """

    num_classes: int = 100
    large_eps: bool = True
    dropout: float = 0.4
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` updates batch statistics and applies dropout."""
        norm = partial(batch_norm, train=train, dtype=self.dtype)
        steps = []
        for channels in (64, 64, 192):
            features = scaled(channels, self.width)
            convolve = partial(
                conv,
                features,
                3,
                padding=1,
                kernel_init=default_kernel,
                dtype=self.dtype,
            )
            steps += [convolve, norm, relu]
        x = max_pool(Chain(steps, name="prelayer")(x), 3, stride=2, padding=1)
        for name, channels in CHANNELS.items():
            if name in ("4a", "5a"):
                x = max_pool(x, 3, stride=2, padding=1)
            sizes = tuple(scaled(c, self.width) for c in channels)
            x = _Inception(sizes, self.large_eps, train, self.dtype, name=name[::-1])(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
        return classifier(self.num_classes, name="linear", dtype=self.dtype)(x)


class _Inception(nn.Module):
    """Four parallel branches: 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; pool, 1x1."""

    channels: tuple[int, ...]
    large_eps: bool
    train: bool
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        one, reduced3, three, reduced5, five, pooled = self.channels
        inputs, unit = x.shape[-1], self._unit
        eps = float(five) if self.large_eps else 1e-5
        pool = partial(max_pooling, 3, stride=1, padding=1)
        branches = (
            unit(inputs, one, 1),
            unit(inputs, reduced3, 1) + unit(reduced3, three, 3),
            unit(inputs, reduced5, 1)
            + unit(reduced5, five, 3, eps=eps)
            + unit(five, five, 3),
            [pool, *unit(inputs, pooled, 1)],
        )
        maps = [
            Chain(steps, name=f"b{i}")(x) for i, steps in enumerate(branches, start=1)
        ]
        return jnp.concatenate(maps, -1)

    def _unit(
        self, inputs: int, features: int, size: int, *, eps: float = 1e-5
    ) -> list:
        """The steps convolution, normalisation, ReLU."""
        convolve = partial(
            biased_conv, inputs, features, size, padding=size // 2, dtype=self.dtype
        )
        norm = partial(batch_norm, train=self.train, eps=eps, dtype=self.dtype)
        return [convolve, norm, relu]
