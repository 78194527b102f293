"""Networks by name."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, get_args

import flax.linen as nn

from dst_jax.models.lenet import LeNet5
from dst_jax.models.resnet import BasicBlock, Bottleneck, ResNet, Stem

__all__ = ["create", "names"]


def _resnet(
    block: type[BasicBlock] | type[Bottleneck],
    blocks: tuple[int, ...],
    *,
    num_classes: int,
    stem: Stem = "imagenet",
    width: float = 1.0,
    dtype: Any = None,
) -> ResNet:
    if stem not in get_args(Stem):
        raise ValueError(f"stem must be one of {get_args(Stem)}, got {stem!r}")
    if not 0 < width <= 16:
        raise ValueError(f"width must be in (0, 16], got {width}")
    return ResNet(block, blocks, num_classes, stem, width, dtype)


def _lenet5(
    *, num_classes: int, relu_logits: bool = False, dtype: Any = None
) -> LeNet5:
    return LeNet5(num_classes, relu_logits, dtype)


_FACTORIES: dict[str, Callable[..., nn.Module]] = {
    "lenet5": _lenet5,
    "resnet18": partial(_resnet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(_resnet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(_resnet, Bottleneck, (3, 4, 6, 3)),
}


def names() -> tuple[str, ...]:
    """The names that `create` knows.

    >>> names()
    ('lenet5', 'resnet18', 'resnet34', 'resnet50')
    """
    return tuple(_FACTORIES)


def create(name: str, *, num_classes: int, **options: Any) -> nn.Module:
    """A network by name.

    Args:
      name: one of `names()`.
      num_classes: outputs, at least 1.
      **options: `dtype` for all (the compute dtype; parameters stay float32); `stem`
        ("imagenet", "cifar") and `width` (factor on channels) for the ResNets;
        `relu_logits` for lenet5.

    Returns:
      A Linen module: `apply(variables, x, train=...)` gives logits.

    Raises:
      ValueError: an unknown name or option, or a value out of range.

    >>> create("resnet18", num_classes=100, stem="cifar", width=0.5).num_classes
    100
    """
    if name not in _FACTORIES:
        raise ValueError(f"model must be one of {names()}, got {name!r}")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    factory = _FACTORIES[name]
    known = [p for p in signature(factory).parameters if p != "num_classes"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{name} has no option {unknown}; it takes {known}")
    return factory(num_classes=num_classes, **options)
