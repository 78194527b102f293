"""Linen modules of smaller arrays: as `smaller`, or refused by name."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, trees
from dst_jax.channels import SplitSide
from dst_jax.channels.linen import shrunk
from dst_jax.models.networks.cifar_resnet import CifarResNet
from dst_jax.models.networks.densenet import CifarDenseNet
from dst_jax.models.networks.mobilenet_v2 import _InvertedResidual
from dst_jax.models.networks.resnet import BasicBlock, Bottleneck, ResNet
from dst_jax.models.networks.unet import UNet
from dst_jax.models.networks.vit import VisionTransformer
from dst_jax.models.networks.wide_resnet import WideResNet
from tests.channels.conftest import subsets
from tests.channels.test_networks import random

KEY = jax.random.key(0)


def removed(model, size=8, seed=0, *, only=None, split: SplitSide = "outer"):
    """Smaller variables, what `smaller` computes with them, and the input."""
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, KEY, x)
    shapes = {k: shapes[k] for k in shapes if k != "activations"}
    groups = channels.groups(model.apply, split=split)(shapes, x)
    keep = subsets({k: g for k, g in groups.items() if only is None or k in only}, seed)
    small = channels.remove(random(shapes), groups, keep)
    return small, channels.smaller(model.apply, groups, keep), random({"x": x})["x"]


class Inverted(nn.Module):
    """Two blocks of MobileNetV2, the second with a sum."""

    @nn.compact
    def __call__(self, x, *, train=False):
        block = partial(_InvertedResidual, 8, 2, 1, train)
        x = block(inputs=3, name="0")(x)
        return nn.Dense(3, name="head")(block(name="1")(x).mean((1, 2)))


NETWORKS = {
    "basic": ResNet(BasicBlock, (1, 1), 3, stem="cifar", width=0.1),
    "bottleneck": ResNet(Bottleneck, (1, 1), 3, stem="cifar", width=0.1),
    "projection": CifarResNet(1, 3, shortcut="B", width=0.5),
    "wide": WideResNet(10, 2, 3, width=0.25),
    "unet": UNet(3, depth=2, width=0.1),
    "dense": CifarDenseNet((1, 1), 3, width=0.25),
    "inverted": Inverted(),
}


NUMBERS = [NETWORKS[name] for name in ("basic", "unet", "inverted")]


@pytest.mark.slow
@pytest.mark.parametrize("model", NETWORKS.values(), ids=list(NETWORKS))
def test_a_network_runs_its_own_code_on_smaller_arrays(model):
    small, replayed, x = removed(model)
    own = shrunk(model, small)
    jax.eval_shape(own.apply, small, x)  # refuses what is not as `replayed`
    if model in NUMBERS:
        found = jax.jit(own.apply)(small, x)
        np.testing.assert_allclose(found, replayed(small, x), rtol=1e-5, atol=1e-6)
    shapes = jax.eval_shape(own.init, KEY, x)
    assert {k: jax.tree.map(jnp.shape, shapes[k]) for k in small} == jax.tree.map(
        jnp.shape, small
    )


class Attention(nn.Module):
    """Attention of 4 heads of 2 channels, on the rows of an image."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(6, name="embed")(x[:, :, 0])
        x = nn.MultiHeadDotProductAttention(4, qkv_features=8, name="attention")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        return nn.Dense(2, name="head")(x.mean(1))


HEADS = ("attention/query",)


@pytest.mark.slow
def test_whole_heads_dropout_and_statistics():
    small, replayed, x = removed(Attention(), only=HEADS)
    assert trees.named_leaves(small)["params/attention/query/kernel"].shape[1] < 4
    own = shrunk(Attention(), small)
    found, expected = (jax.jit(fn)(small, x) for fn in (own.apply, replayed))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    y, updated = own.apply(
        small, x, train=True, mutable=["batch_stats"], rngs={"dropout": KEY}
    )
    assert y.shape == (2, 2)
    assert trees.named_leaves(updated)["batch_stats/norm/mean"].shape == (6,)


def test_dims_of_heads_are_refused_for_their_scale():
    small, _, x = removed(Attention(), only=HEADS, split="inner")
    with pytest.raises(ValueError, match=r"div in Attention/attention reads"):
        shrunk(Attention(), small).apply(small, x)


class Normalised(nn.Module):
    norm: type[nn.Module] = nn.LayerNorm
    options: tuple = ()

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (1, 1), name="conv")(x)
        x = self.norm(name="norm", **dict(self.options))(x)
        return nn.Dense(2, name="head")(x.mean((1, 2)))


REFUSED = {
    "LayerNorm": (Normalised(nn.LayerNorm), "norm reads|norm: |in Normalised/norm"),
    "RMSNorm": (Normalised(nn.RMSNorm), "in Normalised/norm"),
    "GroupNorm": (
        Normalised(nn.GroupNorm, (("num_groups", 4),)),
        "in Normalised/norm|norm: Number of groups",
    ),
    "ViT": (VisionTransformer(3, 2, 1, stem="cifar"), "cannot reshape"),
    "pads": (CifarResNet(1, 3, width=0.5), "layer2/0"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "why"), REFUSED.values(), ids=list(REFUSED))
def test_code_that_holds_numbers_is_refused_by_name(model, why):
    small, _, x = removed(model)
    with pytest.raises(
        ValueError, match=f"the code of {type(model).__name__} .*({why})"
    ):
        shrunk(model, small).apply(small, x)


def test_shapes_that_no_removal_leaves_are_refused():
    model = Normalised(nn.BatchNorm, (("use_running_average", True),))
    small, _, x = removed(model)
    small["params"]["head"]["kernel"] = jnp.ones((7, 2))
    with pytest.raises(ValueError, match="which no units leave"):
        shrunk(model, small).apply(small, x)
