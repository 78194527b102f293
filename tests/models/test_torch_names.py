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


def test_two_names_for_one_tensor_are_refused():
    names = ["conv1.weight", "resnet.embedder.embedder.convolution.weight"]
    with pytest.raises(ValueError, match=r"both mean 'conv1.weight'"):
        torch_names.translate(names, "resnet18")
