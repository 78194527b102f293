"""LeNet5 as the paper uses it on MNIST."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Rectifier,
    biased_conv,
    dense,
    flatten,
    tapped_relu,
)
from dst_jax.models.networks.pooling import max_pool

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """conv 6@5x5, pool, conv 16@5x5, pool, 256-120-84-classes, for 28x28x1 images.

    Names and shapes are those of ChawDoe/LeNet5-MNIST-PyTorch, the baseline that Yu &
    Tian 2024 fine-tune. It also has a ReLU after the logits, which can fix the logit of
    a class at 0 for good; here that ReLU is an option.

    Attributes:
      num_classes: number of outputs.
      relu_logits: Whether a ReLU (and its tap `relu5`) follows the logits, as in the
        original.
      dtype: compute dtype; parameters stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    >>> variables = jax.eval_shape(LeNet5().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    44426
    """

    num_classes: int = 10
    relu_logits: bool = False
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` changes nothing.

        Raises:
          ValueError: nothing would be left of such small images.
        """
        del train
        if min(x.shape[1:3]) < 16:
            raise ValueError(
                f"height and width must be at least 16, got {x.shape[1:3]}"
            )
        x = biased_conv(x.shape[-1], 6, 5, name="conv1", dtype=self.dtype)(x)
        x = max_pool(tapped_relu(x, name="relu1"), 2, stride=2)
        x = biased_conv(6, 16, 5, name="conv2", dtype=self.dtype)(x)
        x = max_pool(tapped_relu(x, name="relu2"), 2, stride=2)
        x = flatten(x)
        x = self._dense(x, 120, name="fc1")
        x = tapped_relu(x, name="relu3")
        x = self._dense(x, 84, name="fc2")
        x = tapped_relu(x, name="relu4")
        x = self._dense(x, self.num_classes, name="fc3")
        if self.relu_logits:
            x = tapped_relu(x, name="relu5")
        return x.astype(jnp.float32)

    def _dense(self, x: Array, features: int, *, name: str) -> Array:
        return dense(features, fan_in=x.shape[-1], name=name, dtype=self.dtype)(x)
