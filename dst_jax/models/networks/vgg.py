"""VGG-16 and VGG-19 with batch normalisation."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    Stem,
    conv,
    dense,
    flatten,
    relu,
    scaled,
)
from dst_jax.models.networks.normalization import batch_norm
from dst_jax.models.networks.pooling import adaptive_mean_pool, max_pooling

__all__ = ["VGG"]

zeros = nn.initializers.zeros


class VGG(nn.Module):
    """VGG of Simonyan & Zisserman 2015 (arXiv 1409.1556), with batch normalisation.

    Names are torchvision's of `vgg*_bn`: `features/0/kernel`, `features/1/scale`, ...,
    `classifier/6/kernel`. The taps have the positions of the ReLUs, `features/2` to
    `classifier/4`. Every layer but the first reads a post-ReLU map, some after pooling
    or dropout.

    Attributes:
      convolutions: number of convolutions in each of the five groups.
      num_classes: number of outputs.
      stem: "imagenet" averages the last map to 7x7; "cifar" does not (it is 1x1 for
        32x32 images), as in weiaicunzai/pytorch-cifar100, which has the same names.
      dropout: dropout rate of the two hidden layers in training.
      width: factor on all channel counts, the hidden layers' 4096 too.
      dtype: compute dtype; parameters and statistics stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    >>> variables = jax.eval_shape(VGG((1, 1, 1, 1, 1)).init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    127556584
    """

    convolutions: tuple[int, ...]
    num_classes: int = 1000
    stem: Stem = "imagenet"
    dropout: float = 0.5
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` updates batch statistics and applies dropout."""
        steps = []
        for channels, count in zip(
            (64, 128, 256, 512, 512), self.convolutions, strict=True
        ):
            features = scaled(channels, self.width)
            steps += [
                partial(conv, features, 3, padding=1, bias=zeros, dtype=self.dtype),
                partial(batch_norm, train=train, dtype=self.dtype),
                relu,
            ] * count
            steps.append(partial(max_pooling, 2, stride=2))
        x = Chain(steps, name="features")(x)
        if self.stem == "imagenet":
            x = adaptive_mean_pool(x, 7)
        x = flatten(x)
        hidden = scaled(4096, self.width)
        drop = partial(nn.Dropout, self.dropout, deterministic=not train)
        head = (
            self._dense(hidden, x.shape[-1]),
            relu,
            drop,
            self._dense(hidden, hidden),
            relu,
            drop,
            self._dense(self.num_classes, hidden),
        )
        return Chain(head, name="classifier")(x).astype(jnp.float32)

    def _dense(self, features: int, fan_in: int) -> partial[nn.Dense]:
        return partial(
            dense,
            features,
            fan_in=fan_in,
            kernel_init=nn.initializers.normal(0.01),
            bias_init=zeros,
            dtype=self.dtype,
        )
