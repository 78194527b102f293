"""Batch normalisation with PyTorch's running variance."""

import flax.linen as nn
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

__all__ = ["BatchNorm", "batch_norm"]


class BatchNorm(nn.BatchNorm):
    """Flax's batch normalisation with the unbiased running variance of PyTorch.

        var <- momentum * var + (1 - momentum) * n / (n - 1) * batch_variance

    with n values per channel. Both libraries normalise the batch itself by its biased
    variance. Parameters and statistics have Flax's names.

    >>> import jax.numpy as jnp
    >>> norm = BatchNorm(momentum=0.5, use_running_average=False)
    >>> x = jnp.array([[1.0], [5.0]])  # variance 4, unbiased 8
    >>> variables = norm.init(jax.random.key(0), x)
    >>> _, updated = norm.apply(variables, x, mutable=["batch_stats"])
    >>> updated["batch_stats"]["var"].tolist()
    [4.5]
    """

    def __call__(
        self,
        x: Float[Array, "*batch channels"],
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> Float[Array, "*batch channels"]:
        """The normalised input.

        Raises:
          ValueError: training on one value per channel, which has no variance.
        """
        if mask is not None:
            raise ValueError(
                "mask must be None: masked batches have no unbiased variance here"
            )
        earlier = self.get_variable("batch_stats", "var")
        y = super().__call__(x, use_running_average)
        running = nn.merge_param(
            "use_running_average", self.use_running_average, use_running_average
        )
        if not running and not self.is_initializing():
            self._unbias(earlier, values=x.size // x.shape[-1])
        return y

    def _unbias(self, earlier: Array, *, values: int) -> None:
        """Replaces `m * earlier + (1 - m) * var`: two products per channel."""
        if values < 2:
            raise ValueError(
                "batch normalisation needs at least 2 values per channel to train, got"
                f" {values}: take a larger batch or larger images"
            )
        ratio = values / (values - 1)
        biased = self.get_variable("batch_stats", "var")
        unbiased = ratio * biased + (1 - ratio) * self.momentum * earlier
        self.put_variable("batch_stats", "var", unbiased)


def batch_norm(
    *,
    name: str,
    train: bool,
    eps: float = 1e-5,
    momentum: float = 0.9,
    dtype: DTypeLike | None = None,
) -> BatchNorm:
    """Batch normalisation, with PyTorch's momentum by default (0.1 there is 0.9 here).

    >>> batch_norm(name="bn1", train=True).momentum
    0.9
    """
    return BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=eps,
        dtype=dtype,
        name=name,
    )
