"""Networks by name."""

import math
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple, get_args

import flax.linen as nn

from dst_jax import checks
from dst_jax.models.networks.cifar_googlenet import CifarGoogLeNet
from dst_jax.models.networks.cifar_resnet import CifarResNet, Shortcut
from dst_jax.models.networks.densenet import CifarDenseNet, DenseNet
from dst_jax.models.networks.efficientnet_lite import EfficientNetLite
from dst_jax.models.networks.googlenet import GoogLeNet
from dst_jax.models.networks.layers import Rectifier, Stem
from dst_jax.models.networks.lenet import LeNet5
from dst_jax.models.networks.mlp import MLP
from dst_jax.models.networks.mobilenet_v1 import MobileNetV1
from dst_jax.models.networks.mobilenet_v2 import MobileNetV2
from dst_jax.models.networks.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    WideBottleneck,
)
from dst_jax.models.networks.unet import UNet
from dst_jax.models.networks.vgg import VGG
from dst_jax.models.networks.vit import VisionTransformer
from dst_jax.models.networks.wide_resnet import WideResNet

__all__ = ["Publication", "create", "names", "options", "task"]

# Arguments that distinguish networks of one class are positional: they are no options.
_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "densenet121": partial(DenseNet, (6, 12, 24, 16)),
    "densenet121_cifar": partial(CifarDenseNet, (6, 12, 24, 16)),
    "efficientnet_lite0": partial(EfficientNetLite, (1, 2, 2, 3, 3, 4, 1)),
    "googlenet": GoogLeNet,
    "googlenet_cifar": CifarGoogLeNet,
    "lenet5": LeNet5,
    "mlp": MLP,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    **{f"resnet{6 * n + 2}": partial(CifarResNet, n) for n in (3, 5, 7, 9, 18)},
    "unet": UNet,
    "vgg16_bn": partial(VGG, (2, 2, 3, 3, 3)),
    "vgg19_bn": partial(VGG, (2, 2, 4, 4, 4)),
    "vit_small": partial(VisionTransformer, 6),
    "vit_tiny": partial(VisionTransformer, 3),
    "wide_resnet28_10": partial(WideResNet, 28, 10),
    "wide_resnet50_2": partial(ResNet, WideBottleneck, (3, 4, 6, 3)),
}

# Images that the networks were published for; 224x224x3 for all others.
_IMAGES = {"lenet5": (28, 28, 1), "mlp": (28, 28, 1), "unet": (512, 512, 3)}
_IMAGES |= dict.fromkeys(["densenet121_cifar", "googlenet_cifar"], (32, 32, 3))
_IMAGES |= {f"resnet{6 * n + 2}": (32, 32, 3) for n in (3, 5, 7, 9, 18)}
_IMAGES |= {"wide_resnet28_10": (32, 32, 3)}

_CHOICES = {
    "stem": get_args(Stem),
    "shortcut": get_args(Shortcut),
    "rectifier": get_args(Rectifier),
}


_Allowed = tuple[Callable[[Any], bool], str]


def _whole(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


_POSITIVE: tuple[_Allowed, ...] = (
    (lambda x: x is None or x > 0, "positive"),
    (lambda x: x is None or x < math.inf, "finite"),
)
_RANGES: dict[str, tuple[_Allowed, ...]] = {
    "width": ((lambda x: 0 < x <= 16, "in (0, 16]"),),
    "dropout": ((lambda x: 0 <= x < 1, "in [0, 1)"),),
    "drop_connect": ((lambda x: 0 <= x < 1, "in [0, 1)"),),
    "bn_eps": _POSITIVE,
    "relu_cap": _POSITIVE,
    "depth": (
        (lambda x: x >= 1, "at least 1"),
        (lambda x: _whole(x) and x <= 1000, "a whole number up to 1000"),
    ),
    "hidden": (
        (lambda x: all(units >= 1 for units in x), "numbers of at least 1"),
        (
            lambda x: all(_whole(units) and units <= 2**24 for units in x),
            "whole numbers up to 2**24",
        ),
    ),
}


def names() -> tuple[str, ...]:
    """The names that `create` knows, sorted.

    >>> [name for name in names() if name.startswith("resnet")]
    ['resnet110', 'resnet18', 'resnet20', 'resnet32', 'resnet34', 'resnet44', ...]
    """
    return tuple(sorted(_NETWORKS))


def options(name: str) -> tuple[str, ...]:
    """The options that `create` takes for a network, other than `num_classes`.

    Args:
      name: name from `names()`, or `module:attribute`.

    Raises:
      ValueError: an unknown name.

    >>> options("resnet18")
    ('stem', 'width', 'dtype', 'rectifier')
    """
    given = signature(_network(name)).parameters
    return tuple(p for p in given if p not in ("num_classes", "parent", "name"))


class Publication(NamedTuple):
    """What a network was published for.

    Attributes:
      num_classes: number of classes.
      image: height, width and channels of the images.
    """

    num_classes: int
    image: tuple[int, int, int]


def task(name: str, *, stem: str | None = None) -> Publication:
    """The classes and the images of a network's publication.

    Args:
      name: name from `names()`, or `module:attribute`.
      stem: "cifar" for the images of networks that have that option.

    Raises:
      ValueError: an unknown name.

    >>> task("resnet50")
    Publication(num_classes=1000, image=(224, 224, 3))
    >>> task("resnet50", stem="cifar").image
    (32, 32, 3)
    """
    classes = signature(_network(name)).parameters["num_classes"].default
    usual = (32, 32, 3) if stem == "cifar" else (224, 224, 3)
    return Publication(classes, _IMAGES.get(name, usual))


def create(name: str, *, num_classes: int, **given: Any) -> nn.Module:
    """A network by name.

    Args:
      name: name from `names()`, or `module:attribute` of a Linen module or a function
        that returns one and takes `num_classes`.
      num_classes: number of outputs, at least 1; per pixel for the U-Net.
      **given: values for some of `options(name)`, which the network's class describes.
        All networks have `dtype` (compute dtype; parameters stay float32) and
        `rectifier` ("relu", or "dyrelu", which has weights of its own); most have
        `width` (factor on channels) and `stem` ("imagenet", or "cifar" for 32x32
        images).

    Returns:
      A Linen module: `apply(variables, x, train=...)` gives logits.

    Raises:
      ValueError: an unknown name or option, or a value out of range.

    >>> create("resnet18", num_classes=100, stem="cifar", width=0.5).num_classes
    100
    """
    network, known = _network(name), options(name)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    checks.known_options(name, given, known)
    if name in _NETWORKS:
        for option, value in given.items():
            _check(option, value, signature(network).parameters[option].default)
        if "hidden" in given:
            given["hidden"] = tuple(given["hidden"])  # jit hashes the module
    return network(num_classes=num_classes, **given)


def _network(name: str) -> Callable[..., nn.Module]:
    network = checks.lookup("model", name, _NETWORKS)
    if not callable(network) or "num_classes" not in signature(network).parameters:
        raise ValueError(f"model {name!r} must be callable and take num_classes")
    return network


def _check(option: str, value: Any, default: Any) -> None:
    if isinstance(default, bool) and not isinstance(value, bool):
        raise ValueError(f"{option} must be True or False, got {value!r}")
    if option in _CHOICES:
        checks.one_of(option, value, _CHOICES[option])
    for holds, allowed in _RANGES.get(option, ()):
        try:
            inside = holds(value)
        except TypeError:  # a word where a number should be, a number where several
            inside = False
        if not inside:
            raise ValueError(f"{option} must be {allowed}, got {value}")
