import flax.linen as nn
import jax.numpy as jnp
import pytest

from dst_jax import models
from dst_jax.models.__main__ import main
from dst_jax.models.summary import Layer, grouped, layers


def _rows(name, image, **options):
    return layers(models.create(name, num_classes=10, **options), image)


def test_rows_of_lenet():
    assert _rows("lenet5", (28, 28, 1)) == [
        Layer("conv1", (24, 24, 6), 156, 86_400),
        Layer("relu1", (24, 24, 6), activations=3456),
        Layer("conv2", (8, 8, 16), 2416, 153_600),
        Layer("relu2", (8, 8, 16), activations=1024),
        Layer("fc1", (120,), 30_840, 30_720),
        Layer("relu3", (120,), activations=120),
        Layer("fc2", (84,), 10_164, 10_080),
        Layer("relu4", (84,), activations=84),
        Layer("fc3", (10,), 850, 840),
    ]


def test_products_without_parameters_are_their_modules():
    rows = {row.name: row for row in _rows("vit_tiny", (32, 32, 3), depth=1)}
    tokens, size = 5, 192
    attention = rows["blocks/0/attn"]
    assert attention.macs == 2 * tokens * tokens * size
    assert attention.parameters == 0
    assert rows["blocks/0/attn/qkv"].macs == 3 * tokens * size * size
    assert rows[""].parameters == size + tokens * size  # class token and positions


def test_groups_add_up():
    rows = _rows("resnet20", (32, 32, 3))
    groups = grouped(rows, 1)
    names = ["conv1", "bn1", "relu", "layer1", "layer2", "layer3", "linear"]
    assert [group.name for group in groups] == names
    for value in ("parameters", "macs", "activations"):
        total = sum(getattr(row, value) for row in rows)
        assert sum(getattr(group, value) for group in groups) == total
    assert groups[4].shape == (16, 16, 32)


def test_the_table_has_rows_and_totals(capsys):
    assert main(["lenet5"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["layer", "output", "parameters", "MACs", "activations"]
    assert ["conv1", "24", "x", "24", "x", "6", "156", "86,400"] in lines
    assert ["relu1", "24", "x", "24", "x", "6", "3,456"] in lines
    assert lines[-1] == ["total", "44,426", "281,640", "4,684"]


def test_options_reach_the_network(capsys):
    options = ["--stem", "cifar", "--width", "0.5", "--num-classes", "10"]
    assert main(["resnet18", *options, "--depth", "1"]) == 0
    out = capsys.readouterr().out
    assert "32 x 32 x 32" in out
    assert main(["resnet18", *options, "--image-size", "64", "--depth", "1"]) == 0
    assert "64 x 64 x 32" in capsys.readouterr().out


def test_long_names_are_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["vit_tiny", "--image-size", "32"]) == 0
    assert "blocks/11/mlp/fc1" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["20", "80"])
def test_no_number_is_cut_at_any_width(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["lenet5", "--image-size", "8192"]) == 0
    total = capsys.readouterr().out.splitlines()[-1].split()
    assert total == ["total", "8,029,501,706", "58,233,440,520", "669,909,868"]


class Own(nn.Module):
    """Multiplies by itself, and has a module of the name of another in it."""

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(4, name="a")(x)
        y = Inner(name="b")(y) @ jnp.ones((4, 2))
        return y


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name="b")(x)


def test_products_of_the_network_itself_and_of_a_module_of_the_same_name():
    rows = {row.name: row.macs for row in layers(Own(), (1, 1, 3)) if row.macs}
    assert rows == {"": 8, "a": 12, "b/b": 16}


def test_products_in_a_loop_are_refused():
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x):
            stacked = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            layer = nn.scan(Step, **stacked, length=2)
            return layer(name="steps")(x, None)[0]

    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.Dense(3)(x), None

    with pytest.raises(ValueError, match="steps/Dense_0 multiplies in a loop"):
        layers(Scanned(), (1, 1, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet19"], "model must be one of"),
        (["lenet5", "--width", "2"], "lenet5 has no option"),
        (["resnet18", "--image-size", "0"], "--image-size must be at least 1, got 0"),
        (["resnet18", "--depth", "0"], "--depth must be at least 1, got 0"),
        (["resnet18", "--num-classes", "0"], "num-classes must be at least 1, got 0"),
        (["resnet18", "--image-size", "99999"], "--image-size must be at most 16384"),
        (["lenet5", "--image-size", "15"], "must be at least 16, got (15, 15)"),
        (["resnet81"], "did you mean 'resnet18'?"),
        (["resnet18", "--stem", "cifr"], "did you mean 'cifar'?"),
        (["resnet18", "--width", "nan"], "width must be in (0, 16], got nan"),
    ],
)
def test_bad_arguments_are_named(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_channels_are_printed_in_place_of_layers(capsys):
    assert main(["lenet5", "--channels"]) == 0
    printed = capsys.readouterr().out
    assert "conv1: 6 units, exact" in printed
    assert "fixed: params/fc3/kernel axis 1: the function returns it" in printed
