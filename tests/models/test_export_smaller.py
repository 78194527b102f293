"""Files of smaller networks: PyTorch loads them, and the card says what they hold."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from dst_jax import models, trees
from dst_jax.models import export
from dst_jax.models.linen import as_model
from dst_jax.models.smaller import groups_of, smaller_network
from dst_jax.typing import Network

TEXT = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
FAST_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
# Residual streams; depthwise convolutions; flattened maps and biases.
WIDTHS = {"resnet18": 0.125, "mobilenet_v2": 0.25, "vgg16_bn": 0.125}


def _whole(name, shape, **options):
    """A network with random weights and statistics."""
    module = models.create(name, num_classes=10, **options)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, *shape)))
    rng = np.random.default_rng(0)

    def drawn(path, leaf):
        value = rng.normal(size=leaf.shape)
        if path.endswith(("var", "scale")):
            return jnp.asarray(value**2 + 0.5, jnp.float32)
        return jnp.asarray(value / np.sqrt(np.prod(leaf.shape[:-1])), jnp.float32)

    return Network(as_model(module), trees.map_named(drawn, dict(shapes)))


def _smaller(network, shape):
    """About half of every group, drawn, and at least one unit."""
    groups = groups_of(network, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    rng = np.random.default_rng(1)
    keep = {name: rng.random(group.size) < 0.5 for name, group in groups.items()}
    for kept in keep.values():
        kept[rng.integers(kept.size)] = True
    return smaller_network(network, groups, keep)


def _documented(name):
    """The function that docs/export.md defines."""
    codes = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (code,) = [code for code in codes if f"def {name}" in code]
    names = {}
    exec(compile(code, "docs/export.md", "exec"), names)
    return names[name]


@pytest.fixture(scope="module")
def lenet():
    network = _whole("lenet5", (28, 28, 1))
    mask = trees.map_named(
        lambda path, leaf: leaf > 0 if path.endswith("kernel") else None, network.params
    )
    pruned = trees.map_named(
        lambda path, leaf: leaf * (leaf > 0) if path.endswith("kernel") else leaf,
        network.params,
    )
    network = network.with_params(pruned)._replace(mask=mask)
    return network, _smaller(network, (28, 28, 1))


@pytest.mark.parametrize("format", ["dense", "bitmask", "csr"])
def test_the_card_leads_from_the_whole_file_to_the_smaller(lenet, tmp_path, format):
    whole, small = lenet
    saved = export.save_safetensors(
        tmp_path / "net.safetensors", "lenet5", small, format=format
    )
    found = export.kept_channels("lenet5", small)
    masks = load_file(saved.masks_path)
    tensors = export.load_compressed(saved.path)
    assert {len(x["kept"]) for x in found["tensors"].values()} == {1, 2}
    for name, array in export.state_dict("lenet5", whole).items():
        entry = found["tensors"].get(name, {"kept": {}, "shape": list(array.shape)})
        for axis, positions in entry["kept"].items():
            array = np.take(array, positions, int(axis))
        np.testing.assert_array_equal(tensors[name], array, name)
        assert list(array.shape) == entry["shape"]
        if array.ndim > 1:
            np.testing.assert_array_equal(masks[name], array > 0, name)
    for group in found["groups"].values():
        assert len(group["units"]) == group["kept"] < group["whole"]
        assert max(group["units"]) < group["whole"]


def test_two_rounds_are_listed_in_the_numbers_of_the_whole(lenet):
    whole, small = lenet
    left = groups_of(small, jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32))
    last = {name: np.arange(g.size) == g.size - 1 for name, g in left.items()}
    once = export.kept_channels("lenet5", small)["groups"]
    twice = export.kept_channels("lenet5", smaller_network(small, left, last))["groups"]
    assert {n: g["units"] for n, g in twice.items()} == {
        n: g["units"][-1:] for n, g in once.items()
    }
    assert export.kept_channels("lenet5", whole) == {}


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("name", WIDTHS)
def test_the_documented_code_loads_them_into_pytorch(torch, tmp_path, name):
    from safetensors.torch import load_file as load_torch

    from tests.models.torch_reference.build import BUILDERS

    options = {"num_classes": 10, "width": WIDTHS[name]}
    small = _smaller(_whole(name, (32, 32, 3), width=WIDTHS[name]), (32, 32, 3))
    file = tmp_path / "net.safetensors"
    export.save_safetensors(file, name, small, **options)
    net = _documented("fit")(BUILDERS[name](**options), load_torch(file)).eval()
    x = np.random.default_rng(2).normal(size=(3, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    run = jax.jit(lambda x: small.model(small.variables, x)[0]).lower(x)
    ours = np.asarray(run.compile(compiler_options=FAST_TO_COMPILE)(x))
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(ours).max()


@pytest.mark.torch
def test_the_documented_code_takes_branches_that_have_vanished(torch):
    """PyTorch has no convolutions without channels: one of zeros is in their place."""
    from tests.models.torch_reference import residual

    block = residual.Basic(4, 4, 1, residual.projection("downsample"))
    with torch.no_grad():
        block.bn2.bias.copy_(torch.arange(4.0))
        tensors = {
            name: tensor.clone()
            for name, tensor in block.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        tensors["conv1.weight"] = tensors["conv1.weight"][:0]
        tensors["conv2.weight"] = tensors["conv2.weight"][:, :0]
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"bn1.{name}"] = tensors[f"bn1.{name}"][:0]
        x = torch.linspace(-2, 2, 100).reshape(1, 4, 5, 5)
        found = _documented("fit")(block, tensors).eval()(x)
        expected = torch.relu(torch.arange(4.0)[:, None, None] + x)
    torch.testing.assert_close(found, expected)
