"""Translates names in public checkpoints to torchvision's, which this library uses.

Known are torchvision's own names, timm's (whose ResNets have torchvision's names),
Hugging Face's `ResNetForImageClassification` and `ResNetModel`, the ResNets of
weiaicunzai/pytorch-cifar100, the `norm.1` of torchvision's older DenseNet files, those
of `efficientnet_lite_pytorch` for EfficientNet-Lite0 (whose names here are timm's), and
the prefixes that wrappers put before every name.
"""

import re
from collections.abc import Callable, Iterable, Mapping

__all__ = ["is_counter", "translate"]

Renaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""A regex, and the replacement of its match."""

WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
"""Prefixes that wrappers put before every name: `torch.nn.DataParallel`,
`torch.compile`, and modules of Lightning that hold a network as `model` or `net`."""


def _group(match: re.Match[str]) -> str:
    return f"layer{int(match['stage']) + 1}.{match['block']}"


def _numbered(match: re.Match[str]) -> str:
    kind = "conv" if match["kind"] == "convolution" else "bn"
    return f"{_group(match)}.{kind}{int(match['i']) + 1}."


def _projection(match: re.Match[str]) -> str:
    return f"{_group(match)}.downsample.{int(match['kind'] == 'normalization')}."


_KIND = r"(?P<kind>convolution|normalization)\."
_BLOCK = r"^(resnet\.)?encoder\.stages\.(?P<stage>\d+)\.layers\.(?P<block>\d+)\."
_HUGGING_FACE: tuple[Renaming, ...] = (
    (r"^(resnet\.)?embedder\.embedder\.convolution\.", "conv1."),
    (r"^(resnet\.)?embedder\.embedder\.normalization\.", "bn1."),
    (_BLOCK + r"layer\.(?P<i>\d+)\." + _KIND, _numbered),
    (_BLOCK + r"shortcut\." + _KIND, _projection),
    (r"^classifier\.1\.", "fc."),
)


def _residual(match: re.Match[str]) -> str:
    names = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "6": "conv3"}
    layer = names.get(match["i"], "bn3")
    return f"layer{int(match['stage']) - 1}.{match['block']}.{layer}."


_STAGE = r"^conv(?P<stage>[2-5])_x\.(?P<block>\d+)\."
_PYTORCH_CIFAR100: tuple[Renaming, ...] = (
    (r"^conv1\.0\.", "conv1."),
    (r"^conv1\.1\.", "bn1."),
    (_STAGE + r"residual_function\.(?P<i>[013467])\.", _residual),
    (
        _STAGE + r"shortcut\.",
        lambda m: f"layer{int(m['stage']) - 1}.{m['block']}.downsample.",
    ),
)
_OLD_DENSENET: tuple[Renaming, ...] = (
    (r"(denselayer\d+\.(norm|conv))\.(?=[12]\.)", r"\1"),
)

_LITE0 = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage, which are numbered through there
_LITE0_PLACES = [f"{i}.{j}" for i, count in enumerate(_LITE0) for j in range(count)]
_FIRST = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw"}
_FIRST |= {"_bn1": "bn1", "_bn2": "bn2"}
_OTHERS = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw"}
_OTHERS |= {"_project_conv": "conv_pwl", "_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head"}
_OUTSIDE |= {"_bn1": "bn2", "_fc": "classifier"}


def _block(match: re.Match[str]) -> str:
    number, layers = int(match["i"]), _OTHERS if int(match["i"]) else _FIRST
    if number >= len(_LITE0_PLACES) or match["layer"] not in layers:
        return match[0]
    return f"blocks.{_LITE0_PLACES[number]}.{layers[match['layer']]}."


_EFFICIENTNET_LITE_PYTORCH: tuple[Renaming, ...] = (
    (r"^_blocks\.(?P<i>\d+)\.(?P<layer>\w+)\.", _block),
    (r"^(?P<layer>_\w+)\.", lambda m: f"{_OUTSIDE.get(m['layer'], m['layer'])}."),
)

_RENAMINGS: Mapping[str, tuple[Renaming, ...]] = {
    "resnet": _HUGGING_FACE + _PYTORCH_CIFAR100,
    "densenet": _OLD_DENSENET,
    "efficientnet_lite0": _EFFICIENTNET_LITE_PYTORCH,
}


def translate(names: Iterable[str], model_name: str) -> dict[str, str]:
    """The name in torchvision of each name in a checkpoint.

    A wrapper's prefix is removed if every name has it. A name that no rule matches
    stays as it is.

    Args:
      names: names of the checkpoint's tensors.
      model_name: name of the network, from `models.names()`.

    Raises:
      ValueError: two names mean the same tensor.

    >>> translate(["module.resnet.embedder.embedder.convolution.weight"], "resnet18")
    {'module.resnet.embedder.embedder.convolution.weight': 'conv1.weight'}
    """
    names = list(names)
    rules = [
        rule
        for family, found in _RENAMINGS.items()
        if model_name.startswith(family)
        for rule in found
    ]
    start = _wrapping(names)
    translated = {name: _apply(rules, name[start:]) for name in names}
    earlier: dict[str, str] = {}
    for name, torchvision in translated.items():
        if torchvision in earlier:
            raise ValueError(
                f"{earlier[torchvision]!r} and {name!r} both mean {torchvision!r}"
            )
        earlier[torchvision] = name
    return translated


def is_counter(name: str) -> bool:
    """Whether a name is PyTorch's count of batches, which this library does not read.

    >>> is_counter("bn1.num_batches_tracked")
    True
    """
    return name.rpartition(".")[2] == "num_batches_tracked"


def _wrapping(names: list[str]) -> int:
    """The length of the prefix of wrappers that all names share."""
    start = 0
    while names:
        found = [w for w in WRAPPERS if all(n.startswith(w, start) for n in names)]
        if not found:
            break
        start += len(found[0])
    return start


def _apply(rules: list[Renaming], name: str) -> str:
    for pattern, replacement in rules:
        new, times = re.subn(pattern, replacement, name, count=1)
        if times:
            return new
    return name
