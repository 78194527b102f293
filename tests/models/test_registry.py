import pytest

from dst_jax import models


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, "model must be one of .*resnet18.*, got 'resnet19'"),
        ("lenet5", {"width": 2.0}, r"lenet5 has no option \['width'\]; it takes"),
        ("resnet18", {"width": 0.0}, r"width must be in \(0, 16\], got 0.0"),
        ("resnet18", {"num_classes": 0}, "num_classes must be at least 1, got 0"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, **{"num_classes": 10, **options})


def test_unknown_stem_is_refused():
    with pytest.raises((ValueError, TypeError), match="stem"):
        models.create("resnet18", num_classes=10, stem="tiny")
