"""A multilayer perceptron."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Rectifier,
    dense,
    flatten,
    scaled,
    tapped_relu,
)

__all__ = ["MLP"]


class MLP(nn.Module):
    """Fully connected layers `fc1`, `fc2`, ... with ReLU between them.

    The default is LeNet-300-100, the usual small network of the pruning literature
    (LeCun et al. 1998). Pixels are in PyTorch's order: channels, rows, columns. Every
    layer but the first reads a post-ReLU map (taps `relu1`, `relu2`, ...).

    Attributes:
      num_classes: number of outputs.
      hidden: numbers of units in the hidden layers.
      width: factor on the hidden units.
      dtype: compute dtype; parameters stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> import jax
    >>> image = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    >>> variables = jax.eval_shape(MLP().init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    266610
    """

    num_classes: int = 10
    hidden: tuple[int, ...] = (300, 100)
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` changes nothing."""
        del train
        x = flatten(x)
        sizes = [scaled(units, self.width) for units in self.hidden]
        for i, units in enumerate((*sizes, self.num_classes), start=1):
            layer = dense(units, fan_in=x.shape[-1], name=f"fc{i}", dtype=self.dtype)
            x = layer(x)
            if i <= len(sizes):
                x = tapped_relu(x, name=f"relu{i}")
        return x.astype(jnp.float32)
