import pytest

from dst_jax import models


def test_names_are_sorted():
    assert list(models.names()) == sorted(models.names())


def test_all_have_a_compute_dtype_and_most_a_width():
    narrow = {name for name in models.names() if "width" in models.options(name)}
    assert set(models.names()) - narrow == {"lenet5"}
    assert all("dtype" in models.options(name) for name in models.names())


def test_published_tasks():
    assert models.task("resnet18") == (1000, (224, 224, 3))
    assert models.task("vgg16_bn", stem="cifar").image == (32, 32, 3)
    assert models.task("googlenet_cifar") == (100, (32, 32, 3))
    assert models.task("lenet5").image == (28, 28, 1)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, "model must be one of .*resnet18.*, got 'resnet19'"),
        ("lenet5", {"width": 2.0}, r"lenet5 has no option \['width'\]; it takes"),
        ("resnet18", {"blocks": 2}, r"resnet18 has no option \['blocks'\]"),
        ("resnet18", {"width": 0.0}, r"width must be in \(0, 16\], got 0.0"),
        ("resnet18", {"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ("resnet18", {"stem": "tiny"}, "stem must be one of .*'cifar'.*got 'tiny'"),
        ("resnet20", {"shortcut": "C"}, "shortcut must be one of .*got 'C'"),
        ("vgg16_bn", {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ("googlenet", {"bn_eps": 0.0}, "bn_eps must be positive, got 0.0"),
        ("mobilenet_v1", {"relu_cap": -1.0}, "relu_cap must be positive, got -1.0"),
        ("unet", {"depth": 0}, "depth must be at least 1, got 0"),
        ("mlp", {"hidden": (10, 0)}, "hidden must be numbers of at least 1"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, **{"num_classes": 10, **options})
