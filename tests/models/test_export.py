import itertools
import json
import os
import stat

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dst_jax import models, trees
from dst_jax.models import export
from dst_jax.models.linen import as_model
from dst_jax.models.torch import compressed as torch_safetensors
from dst_jax.models.torch import importer as torch_import
from dst_jax.models.torch.layout import layout_of
from dst_jax.typing import Network

FORMATS = ["dense", "bitmask", "csr"]


@pytest.fixture(scope="module")
def lenet():
    """A LeNet5 with about 80 % of its weights pruned, and its masks."""
    model = models.create("lenet5", num_classes=10)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    rng = np.random.default_rng(0)
    params, masks = {}, {}
    for layer, leaves in shapes["params"].items():
        kernel = leaves["kernel"].shape
        mask = rng.random(kernel) < 0.2
        drawn = 0.1 * rng.normal(size=kernel).astype(np.float32)
        bias = jnp.asarray(rng.random(leaves["bias"].shape, np.float32))
        params[layer] = {"kernel": jnp.asarray(np.where(mask, drawn, 0)), "bias": bias}
        masks[layer] = {"kernel": jnp.asarray(mask), "bias": None}
    return model, {"params": params}, masks


def _same(a, b):
    a, b = trees.named_leaves(a), trees.named_leaves(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]), name)


@pytest.mark.parametrize("format", FORMATS)
def test_a_network_comes_back_bit_by_bit(lenet, tmp_path, format):
    _, variables, masks = lenet
    path = tmp_path / "net.safetensors"
    saved = export.save_safetensors(
        path, "lenet5", variables, masks=masks, format=format
    )
    assert saved.path == path
    assert saved.bytes == path.stat().st_size
    assert saved.masks_path == tmp_path / "net.masks.safetensors"
    assert saved.masks_bytes == saved.masks_path.stat().st_size
    _same(torch_import.load("lenet5", path), variables)
    restored = export.load_compressed(path)
    assert restored.keys() == layout_of("lenet5").leaves.keys()
    written = load_file(saved.masks_path)
    kernels = {name for name in restored if name.endswith("weight")}
    assert written.keys() == kernels
    for name in kernels:
        assert written[name].dtype == bool
        np.testing.assert_array_equal(written[name], restored[name] != 0)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, saved.masks_path.name}


def test_compressed_files_are_as_small_as_their_parts(lenet, tmp_path):
    _, variables, _ = lenet
    sizes = {
        format: export.save_safetensors(
            tmp_path / f"{format}.safetensors", "lenet5", variables, format=format
        )
        for format in FORMATS
    }
    kernels = [x for x in jax.tree.leaves(variables) if x.ndim > 1]
    biases = sum(4 * x.size for x in jax.tree.leaves(variables) if x.ndim == 1)
    values = sum(4 * np.count_nonzero(x) for x in kernels)
    bits = sum(-(-x.size // 8) for x in kernels)
    shapes = sum(8 * x.ndim for x in kernels)

    def content(format):  # without the header of 8 bytes and JSON
        raw = (tmp_path / f"{format}.safetensors").read_bytes()
        return len(raw) - 8 - int.from_bytes(raw[:8], "little")

    assert content("dense") == 4 * 44_426
    assert content("bitmask") == biases + values + bits + shapes
    with safe_open(tmp_path / "csr.safetensors", "numpy") as file:
        columns = file.get_tensor("fc1.weight.column_indices")
        assert columns.dtype == np.uint8  # fc1 has 256 inputs
        assert file.get_tensor("fc1.weight.row_pointers").shape == (121,)
        assert json.loads(file.metadata()["compressed"])[0] == "conv1.weight"
    assert sizes["bitmask"].bytes < sizes["csr"].bytes < sizes["dense"].bytes
    assert sizes["dense"].masks_path is None


def test_what_would_grow_stays_dense(lenet, tmp_path):
    """Compressing a kernel without zeros only adds to it."""
    _, variables, _ = lenet
    full = jax.tree.map(jnp.ones_like, variables)
    path = tmp_path / "full.safetensors"
    export.save_safetensors(path, "lenet5", full, format="bitmask")
    assert load_file(path).keys() == layout_of("lenet5").leaves.keys()
    _same(torch_import.load("lenet5", path), full)


def test_the_sparse_network_loads_into_pytorch(torch, lenet, tmp_path):
    from safetensors.torch import load_file as load_torch

    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
            self.fc1, self.fc2 = nn.Linear(256, 120), nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
            x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
            x = torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1)))))
            return self.fc3(x)

    model, variables, masks = lenet
    x = jnp.asarray(np.random.default_rng(1).random((2, 28, 28, 1), np.float32))
    path = tmp_path / "net.safetensors"
    export.save_safetensors(path, "lenet5", variables, masks=masks)
    net = Net()
    net.load_state_dict(load_torch(path), strict=True)
    with torch.no_grad():
        theirs = net(torch.from_numpy(np.array(x).transpose(0, 3, 1, 2))).numpy()
    ours = jax.jit(model.apply)(variables, x)
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    beside = load_torch(tmp_path / "net.masks.safetensors")
    assert not net.fc1.weight[~beside["fc1.weight"]].any()


def test_pytorch_needs_no_counters(torch):
    """A strict load fills in num_batches_tracked, which is not exported."""
    state = {
        "weight": torch.ones(2),
        "bias": torch.zeros(2),
        "running_mean": torch.zeros(2),
        "running_var": torch.ones(2),
    }
    torch.nn.BatchNorm2d(2).load_state_dict(state, strict=True)
    names = layout_of("resnet20").leaves
    assert {n.rpartition(".")[2] for n in names if n.startswith("bn1.")} == set(state)


def test_what_does_not_fit_is_refused(lenet, tmp_path):
    _, variables, masks = lenet
    path = tmp_path / "net.safetensors"
    with pytest.raises(ValueError, match=r"path must end in .safetensors"):
        export.save_safetensors(tmp_path / "net.bin", "lenet5", variables)
    with pytest.raises((ValueError, TypeError), match="format"):
        export.save_safetensors(path, "lenet5", variables, format="coo")
    with pytest.raises(ValueError, match=r"fc3/bias: the network has \(7,\)"):
        export.save_safetensors(path, "lenet5", variables, num_classes=7)
    dense = {"params": jax.tree.map(jnp.ones_like, variables["params"])}
    with pytest.raises(ValueError, match=r"weights of params/\S+ are pruned .* not 0"):
        export.save_safetensors(path, "lenet5", dense, masks=masks)
    wrong = {**masks, "extra": jnp.ones(2, bool)}
    with pytest.raises(ValueError, match=r"params/extra is bool .* is no parameter"):
        export.save_safetensors(path, "lenet5", variables, masks=wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_permissions_of_new_files(lenet, tmp_path, umask, mode):
    _, variables, masks = lenet
    before = os.umask(umask)
    try:
        path = tmp_path / "net.safetensors"
        saved = export.save_safetensors(path, "lenet5", variables, masks=masks)
    finally:
        os.umask(before)
    for path in (saved.path, saved.masks_path):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_network_brings_its_mask(lenet, tmp_path):
    model, variables, masks = lenet
    network = Network(as_model(model), variables, masks)
    path = tmp_path / "net.safetensors"
    saved = export.save_safetensors(path, "lenet5", network, format="csr")
    assert saved.masks_path is not None
    _same(torch_import.load("lenet5", path), variables)
    written = load_file(saved.masks_path)
    expected = {f"{layer}.weight": leaf["kernel"] for layer, leaf in masks.items()}
    assert written.keys() == expected.keys()
    for name, mask in written.items():
        assert mask.sum() == expected[name].sum()
    _same(export.state_dict("lenet5", network), export.state_dict("lenet5", variables))
    # The gates of a round of relaxation are in the weights already.
    gates = {"gates": {"conv1": {"s": jnp.ones(6), "folded": jnp.ones(6)}}}
    handed_on = network._replace(variables=variables | gates)
    _same(export.state_dict("lenet5", handed_on), export.state_dict("lenet5", network))


def _smaller(variables, x, *, train=False, rngs=None):
    """LeNet5 with two of the six channels of conv1; no Linen module."""
    del train, rngs
    net = variables["params"]
    conv1 = jnp.zeros((5, 5, 1, 6)).at[..., :2].set(net["conv1"]["kernel"])
    bias = jnp.zeros(6).at[:2].set(net["conv1"]["bias"])
    conv2 = jnp.zeros((5, 5, 6, 16)).at[:, :, :2].set(net["conv2"]["kernel"])
    full = {
        **net,
        "conv1": {"kernel": conv1, "bias": bias},
        "conv2": {**net["conv2"], "kernel": conv2},
    }
    model = models.create("lenet5", num_classes=10)
    return model.apply({"params": full}, x), {}, {}


@pytest.fixture(scope="module")
def smaller(lenet):
    _, variables, masks = lenet

    def shrunk(tree):
        conv1 = jax.tree.map(lambda leaf: leaf[..., :2], tree["conv1"])
        conv2 = {**tree["conv2"], "kernel": tree["conv2"]["kernel"][:, :, :2]}
        return {**tree, "conv1": conv1, "conv2": conv2}

    return Network(_smaller, {"params": shrunk(variables["params"])}, shrunk(masks))


@pytest.mark.parametrize("format", FORMATS)
def test_a_smaller_network_keeps_its_names_and_shapes(smaller, tmp_path, format):
    path = tmp_path / "net.safetensors"
    saved = export.save_safetensors(path, "lenet5", smaller, format=format)
    restored = export.load_compressed(path)
    assert restored["conv1.weight"].shape == (2, 1, 5, 5)
    assert restored["conv2.weight"].shape == (16, 2, 5, 5)
    ours = np.asarray(smaller.params["conv2"]["kernel"]).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(restored["conv2.weight"], ours)
    assert load_file(saved.masks_path)["conv2.weight"].shape == (16, 2, 5, 5)


def test_only_another_function_may_be_smaller(smaller, lenet, tmp_path):
    path = tmp_path / "net.safetensors"
    message = r"conv1/bias: the network has \(6,\), the variables \(2,\)"
    own = smaller._replace(model=as_model(lenet[0]))
    with pytest.raises(ValueError, match=message):
        export.save_safetensors(path, "lenet5", own)
    with pytest.raises(ValueError, match=message):
        export.state_dict("lenet5", smaller.variables)
    with pytest.raises(ValueError, match="the network has None"):
        export.state_dict("lenet5", smaller.with_params({**smaller.params, "head": 1}))
    with pytest.raises(ValueError, match=r"model must be one of .* got 'lenet_small'"):
        export.save_safetensors(path, "lenet_small", smaller)
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_network_is_a_program(smaller):
    exported = export.stablehlo(smaller, (28, 28, 1), platforms=("cpu",))
    x = jnp.asarray(np.random.default_rng(1).random((2, 28, 28, 1), np.float32))
    expected = jax.jit(smaller.model)(smaller.variables, x)[0]
    np.testing.assert_allclose(exported.call(x), expected, rtol=1e-5, atol=1e-5)


def test_a_failed_write_leaves_what_was_there(lenet, tmp_path, monkeypatch):
    _, variables, _ = lenet
    path = tmp_path / "net.safetensors"
    export.save_safetensors(path, "lenet5", variables)
    before = path.read_bytes()
    monkeypatch.setattr(torch_safetensors, "save_file", _half_written)
    with pytest.raises(OSError, match="no space left"):
        export.save_safetensors(path, "lenet5", variables, format="csr")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _half_written(tensors, path, metadata):
    del tensors, metadata
    path.write_bytes(b"half")
    raise OSError("no space left on device")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"compression": "zip"}, "must be bitmask or csr, got 'zip'"),
        ({"compression": "csr"}, "list of compressed tensors must be names"),
        ({"compression": "csr", "compressed": "{"}, "not a sound safetensors"),
        ({"compression": "csr", "compressed": '["w"]'}, "both whole and in parts"),
        ({"compression": "csr", "compressed": '["v"]'}, "v has no part shape"),
        ({"compression": "csr", "compressed": "[" * 200_000}, "not a sound safet"),
        ({"compression": "csr", "compressed": '{"a":' * 200_000}, "not a sound safet"),
    ],
    ids=itertools.count(),
)
def test_metadata_that_lies_is_refused(tmp_path, metadata, message):
    save_file({"w": np.ones(2, np.float32)}, tmp_path / "w.safetensors", metadata)
    with pytest.raises(ValueError, match=message):
        export.load_compressed(tmp_path / "w.safetensors")
