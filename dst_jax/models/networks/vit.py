"""A small vision transformer with ReLU in its MLPs."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.models.networks.layers import (
    Chain,
    Rectifier,
    Stem,
    biased_conv,
    dense,
    relu,
    scaled,
)

__all__ = ["VisionTransformer"]

normal, zeros = nn.initializers.normal(0.02), nn.initializers.zeros


class VisionTransformer(nn.Module):
    """ViT of Dosovitskiy et al. 2021 (arXiv 2010.11929), with ReLU in place of GELU.

    Names are timm's. ReLU makes the MLPs' maps sparse: 6.3% nonzero in a trained
    ViT-B/16 (Li et al. 2023, arXiv 2210.06313). Only `mlp/fc2` reads a post-ReLU map
    (tap `blocks/0/mlp/act`); `qkv`, `proj` and `fc1` read dense maps.

    Attributes:
      heads: number of attention heads, each of 64 channels: 3 for ViT-Tiny, 6 for
        ViT-Small.
      num_classes: number of outputs.
      depth: number of blocks.
      stem: "imagenet" (patches of 16 x 16 pixels) or "cifar" (4 x 4).
      width: factor on the heads, and thereby on all channel counts.
      dtype: compute dtype; parameters stay float32.
      rectifier: rectifier of the whole network, "relu" or "dyrelu".

    >>> image = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    >>> model = VisionTransformer(3, depth=1, stem="cifar")
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), image)
    >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
    648808
    """

    heads: int
    num_classes: int = 1000
    depth: int = 12
    stem: Stem = "imagenet"
    width: float = 1.0
    dtype: DTypeLike | None = None
    rectifier: Rectifier = "relu"

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits in float32; `train` changes nothing.

        Raises:
          ValueError: height or width is no multiple of the patch size.
        """
        del train
        heads = scaled(self.heads, self.width)
        size = 64 * heads
        x = self._patches(x, size)
        cls = self.param("cls_token", nn.initializers.normal(1e-6), (1, 1, size))
        x = jnp.concatenate([jnp.broadcast_to(cls, (len(x), 1, size)), x], 1)
        positions = self.param("pos_embed", normal, (1, x.shape[1], size))
        x = (x + positions).astype(self.dtype or x.dtype)
        block = partial(_Block, heads, self.dtype)
        x = Chain([block] * self.depth, name="blocks")(x)
        x = _layer_norm(name="norm", dtype=self.dtype)(x)[:, 0]
        return _linear(self.num_classes, size, name="head", dtype=self.dtype)(x).astype(
            jnp.float32
        )

    def _patches(self, x: Array, size: int) -> Array:
        patch = 16 if self.stem == "imagenet" else 4
        if x.shape[1] % patch or x.shape[2] % patch:
            raise ValueError(
                f"height and width must be multiples of {patch}, got {x.shape[1:3]}"
            )
        embed = partial(
            biased_conv, x.shape[-1], size, patch, stride=patch, dtype=self.dtype
        )
        x = Chain((embed,), ("proj",), name="patch_embed")(x)
        return x.reshape(x.shape[0], -1, size)


class _Block(nn.Module):
    """Attention, then the MLP; each reads a normalised map and adds to its input."""

    heads: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        norm = partial(_layer_norm, dtype=self.dtype)
        x = x + _Attention(self.heads, self.dtype, name="attn")(norm(name="norm1")(x))
        size = x.shape[-1]
        steps = (
            partial(_linear, 4 * size, size, dtype=self.dtype),
            relu,
            partial(_linear, size, 4 * size, dtype=self.dtype),
        )
        mlp = Chain(steps, ("fc1", "act", "fc2"), name="mlp")
        return x + mlp(norm(name="norm2")(x))


class _Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v in each head."""

    heads: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, tokens, size = x.shape
        qkv = _linear(3 * size, size, name="qkv", dtype=self.dtype)(x)
        qkv = qkv.reshape(batch, tokens, 3, self.heads, -1)
        q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
        scores = q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(v.dtype)
        x = (weights @ v).transpose(0, 2, 1, 3).reshape(batch, tokens, size)
        return _linear(size, size, name="proj", dtype=self.dtype)(x)


def _linear(
    features: int, fan_in: int, *, name: str, dtype: DTypeLike | None
) -> nn.Dense:
    return dense(
        features,
        fan_in=fan_in,
        kernel_init=normal,
        bias_init=zeros,
        name=name,
        dtype=dtype,
    )


def _layer_norm(*, name: str, dtype: DTypeLike | None) -> nn.LayerNorm:
    # The one-pass variance loses digits where the mean is large.
    return nn.LayerNorm(1e-6, dtype=dtype, use_fast_variance=False, name=name)
