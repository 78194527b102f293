import pytest

from dst_jax.models.torch import names as torch_names

_STAGES = "resnet.encoder.stages"
_LAST = f"{_STAGES}.3.layers.0.shortcut"
HUGGING_FACE = {
    "conv1.weight": "resnet.embedder.embedder.convolution.weight",
    "bn1.running_var": "resnet.embedder.embedder.normalization.running_var",
    "layer1.0.conv1.weight": f"{_STAGES}.0.layers.0.layer.0.convolution.weight",
    "layer2.1.bn2.bias": f"{_STAGES}.1.layers.1.layer.1.normalization.bias",
    "layer4.0.downsample.0.weight": f"{_LAST}.convolution.weight",
    "layer4.0.downsample.1.weight": f"{_LAST}.normalization.weight",
    "fc.weight": "classifier.1.weight",
}
PYTORCH_CIFAR100 = {
    "conv1.weight": "conv1.0.weight",
    "bn1.running_var": "conv1.1.running_var",
    "layer1.0.conv1.weight": "conv2_x.0.residual_function.0.weight",
    "layer2.1.bn2.bias": "conv3_x.1.residual_function.4.bias",
    "layer4.0.downsample.1.running_mean": "conv5_x.0.shortcut.1.running_mean",
    "layer3.2.bn3.weight": "conv4_x.2.residual_function.7.weight",
    "fc.weight": "fc.weight",
}


@pytest.mark.parametrize("public", [HUGGING_FACE, PYTORCH_CIFAR100])
def test_public_names(public):
    translated = torch_names.translate(public.values(), "resnet50")
    assert translated == {theirs: ours for ours, theirs in public.items()}


def test_hugging_faces_resnet_without_a_head_has_no_prefix():
    names = ["embedder.embedder.convolution.weight"]
    assert torch_names.translate(names, "resnet34") == {names[0]: "conv1.weight"}


def test_torchvisions_older_densenet_names():
    old = "features.denseblock1.denselayer2.norm.1.running_mean"
    new = "features.denseblock1.denselayer2.norm1.running_mean"
    kept = "features.transition1.norm.weight"
    assert torch_names.translate([old, kept], "densenet121") == {old: new, kept: kept}


EFFICIENTNET_LITE = {
    "conv_stem.weight": "_conv_stem.weight",
    "bn1.running_var": "_bn0.running_var",
    "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
    "blocks.0.0.bn1.bias": "_blocks.0._bn1.bias",
    "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
    "blocks.0.0.bn2.bias": "_blocks.0._bn2.bias",
    "blocks.1.1.conv_pw.weight": "_blocks.2._expand_conv.weight",
    "blocks.1.1.bn1.weight": "_blocks.2._bn0.weight",
    "blocks.3.0.conv_dw.weight": "_blocks.5._depthwise_conv.weight",
    "blocks.3.0.bn2.weight": "_blocks.5._bn1.weight",
    "blocks.5.3.conv_pwl.weight": "_blocks.14._project_conv.weight",
    "blocks.6.0.bn3.running_mean": "_blocks.15._bn2.running_mean",
    "conv_head.weight": "_conv_head.weight",
    "bn2.weight": "_bn1.weight",
    "classifier.bias": "_fc.bias",
}


def test_names_of_efficientnet_lite_pytorch():
    names = EFFICIENTNET_LITE.values()
    translated = torch_names.translate(names, "efficientnet_lite0")
    assert translated == {theirs: ours for ours, theirs in EFFICIENTNET_LITE.items()}
    own = list(EFFICIENTNET_LITE)  # those of timm
    kept = torch_names.translate(own, "efficientnet_lite0")
    assert kept == {name: name for name in own}
    # Those of a longer network, or of another layer, stay and are said to be unused.
    other = ["_blocks.16._bn0.bias", "_blocks.0._expand_conv.weight", "_head.weight"]
    assert torch_names.translate(other, "efficientnet_lite0") == {
        "_blocks.16._bn0.bias": "_blocks.16._bn0.bias",
        "_blocks.0._expand_conv.weight": "_blocks.0._expand_conv.weight",
        "_head.weight": "_head.weight",
    }


def test_two_names_for_one_tensor_are_refused():
    names = ["conv1.weight", "resnet.embedder.embedder.convolution.weight"]
    with pytest.raises(ValueError, match=r"both mean 'conv1.weight'"):
        torch_names.translate(names, "resnet18")
