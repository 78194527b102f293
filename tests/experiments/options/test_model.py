"""`--model.options` reaches every option of every network."""

import pytest

from dst_jax import models
from experiments.options import ModelOptions

TEXTS = {
    "aux_logits": "false",
    "bn_eps": "1e-3",
    "depth": "2",
    "drop_connect": "0.1",
    "dropout": "0.1",
    "hidden": "12,6",
    "large_eps": "true",
    "rectifier": "dyrelu",
    "relu_cap": "6",
    "relu_logits": "true",
    "shortcut": "B",
    "stem": "cifar",
    "transform_input": "true",
    "transition_relu": "true",
    "width": "0.5",
}


@pytest.mark.parametrize("name", models.names())
def test_every_option_of_a_network_is_reached(name):
    known = [option for option in models.options(name) if option != "dtype"]
    texts = tuple(f"{option}={TEXTS[option]}" for option in known)
    options = ModelOptions(name, options=texts)
    assert list(options.given()) == known
    model = options.create(num_classes=3)
    for option, value in options.given().items():
        assert getattr(model, option) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mlp", "hidden=12", "hidden must be numbers of at least 1, got 12"),
        ("mlp", "hidden=0,", "hidden must be numbers of at least 1"),
        ("resnet18", "width=wide", "width must be in \\(0, 16\\], got wide"),
        ("resnet18", "stem=big", "stem must be one of"),
        (
            "lenet5",
            "relu_logits=maybe",
            "relu_logits must be True or False, got 'maybe'",
        ),
        ("vgg16_bn", "dropout=1", "dropout must be in \\[0, 1\\), got 1"),
        ("resnet18", "hidden=3,", "resnet18 has no option \\['hidden'\\]"),
    ],
)
def test_a_value_of_another_kind_is_refused(name, text, message):
    with pytest.raises(ValueError, match=message):
        ModelOptions(name, options=(text,)).create(num_classes=3)


def test_an_option_is_given_once():
    with pytest.raises(ValueError, match="width is given twice"):
        ModelOptions(width=0.5, options=("width=1",)).given()
