import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from dst_jax import models, trees
from dst_jax.models import export
from dst_jax.models.networks.unet import UpConv
from dst_jax.models.torch import importer as torch_import
from dst_jax.models.torch import names as torch_names
from dst_jax.models.torch.layout import Leaf, layout_of, to_torch

WIDTH = 0.25
OPTIONS = {"num_classes": 10, "width": WIDTH}


def _block(torch, inputs, features, stride):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(features)
            self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(features)
            self.downsample = None
            if stride != 1 or inputs != features:
                project = nn.Conv2d(inputs, features, 1, stride, bias=False)
                self.downsample = nn.Sequential(project, nn.BatchNorm2d(features))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (self.downsample(x) if self.downsample else x))

    return Block()


def _resnet18(torch):
    """A narrow ResNet18 under torchvision's names, random in every tensor."""
    nn = torch.nn

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = [round(64 * WIDTH) * 2**i for i in range(4)]
            self.conv1 = nn.Conv2d(3, sizes[0], 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(sizes[0])
            for i, size in enumerate(sizes):
                first = _block(torch, sizes[max(i - 1, 0)], size, 2 if i else 1)
                group = nn.Sequential(first, _block(torch, size, size, 1))
                setattr(self, f"layer{i + 1}", group)
            self.fc = nn.Linear(sizes[-1], 10)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            x = nn.functional.max_pool2d(x, 3, 2, 1)
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    net = ResNet().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if "running_mean" in name or name.endswith("bias"):
                tensor.normal_(0, 0.2)
            elif tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return net


@pytest.fixture(scope="module")
def net(torch):
    return _resnet18(torch)


@pytest.fixture(scope="module")
def random_dict():
    """NumPy arrays that fit a narrow resnet18."""
    rng = np.random.default_rng(0)
    leaves = layout_of("resnet18", **OPTIONS).leaves.values()
    return {
        leaf.name: rng.random(leaf.torch_shape, np.float32) + 0.5 for leaf in leaves
    }


def _same(a, b):
    a, b = trees.named_leaves(a), trees.named_leaves(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]), name)


def test_logits_equal_pytorchs(torch, net):
    ours = torch_import.variables("resnet18", net, **OPTIONS)
    model = models.create("resnet18", **OPTIONS)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    logits = jax.jit(model.apply)(ours, x)
    with torch.no_grad():
        theirs = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.abs(logits - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_files_wrappers_and_prefixes_give_the_same(torch, net, tmp_path, caplog):
    from safetensors.torch import save_file as save_torch

    expected = torch_import.variables("resnet18", net, **OPTIONS)
    state = net.state_dict()
    save_torch(state, tmp_path / "net.safetensors")
    torch.save(state, tmp_path / "net.pth")
    old = tmp_path / "old.pth"  # before PyTorch 1.6: no zip archive
    torch.save(state, old, _use_new_zipfile_serialization=False)
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    checkpoint = {"state_dict": parallel, "epoch": 3, "best": 0.5}
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    compiled = {"model": {f"_orig_mod.{n}": t for n, t in parallel.items()}}
    torch.save(compiled, tmp_path / "pytorch_model.bin")
    names = ["net.safetensors", "net.pth", "old.pth", "checkpoint.pt"]
    with caplog.at_level("INFO"):
        for name in [*names, "pytorch_model.bin"]:
            found = torch_import.load("resnet18", tmp_path / name, **OPTIONS)
            _same(found, expected)
    assert "using the entry 'state_dict'; left: best, epoch" in caplog.text


def test_half_precision_of_pytorch_is_exact(torch, net):
    half = {k: v.to(torch.bfloat16) for k, v in net.state_dict().items()}
    again = {k: v.float() for k, v in half.items()}
    _same(
        torch_import.variables("resnet18", half, **OPTIONS),
        torch_import.variables("resnet18", again, **OPTIONS),
    )


@pytest.mark.usefixtures("torch")
def test_a_live_modules_normalisation_is_compared(net):
    net.layer1[0].bn1.eps, net.layer2[0].downsample[1].momentum = 1e-3, None
    try:
        with pytest.raises(ValueError, match="other constants") as error:
            torch_import.variables("resnet18", net, **OPTIONS)
        torch_import.variables("resnet18", net.state_dict(), **OPTIONS)
    finally:
        net.layer1[0].bn1.eps, net.layer2[0].downsample[1].momentum = 1e-5, 0.1
    said = str(error.value)
    assert "layer1.0.bn1 has eps 0.001 and momentum 0.1, must be 1e-05 and 0.1" in said
    assert "layer2.0.downsample.1 has eps 1e-05 and momentum None" in said
    assert "layer1.0.bn2" not in said


def test_a_whole_network_under_hugging_faces_names(random_dict):
    renamed = {}
    for name, array in random_dict.items():
        head, _, last = name.rpartition(".")
        if head in ("conv1", "bn1"):
            kind = "convolution" if head == "conv1" else "normalization"
            renamed[f"resnet.embedder.embedder.{kind}.{last}"] = array
        elif head == "fc":
            renamed[f"classifier.1.{last}"] = array
        else:
            stage, block, *rest = head.removeprefix("layer").split(".")
            start = f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}"
            if rest[0] == "downsample":
                layer = "shortcut." + ("convolution", "normalization")[int(rest[1])]
            else:
                kind = "convolution" if "conv" in rest[0] else "normalization"
                layer = f"layer.{int(rest[0][-1]) - 1}.{kind}"
            renamed[f"{start}.{layer}.{last}"] = array
    assert len(renamed) == len(random_dict)
    _same(
        torch_import.variables("resnet18", renamed, **OPTIONS),
        torch_import.variables("resnet18", random_dict, **OPTIONS),
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5", {}),
        ("mlp", {}),
        ("resnet20", {"shortcut": "B"}),
        ("unet", {"width": 0.125}),
        ("vit_tiny", {"depth": 2, "stem": "cifar"}),
    ],
)
def test_in_and_out_again_is_the_same(name, options):
    rng = np.random.default_rng(0)
    leaves = layout_of(name, **options).leaves.values()
    theirs = {x.name: rng.random(x.torch_shape, np.float32) for x in leaves}
    variables = torch_import.variables(name, theirs, **options)
    again = export.state_dict(name, variables, **options)
    assert again.keys() == theirs.keys()
    for key, array in theirs.items():
        np.testing.assert_array_equal(again[key], array, key)


def _under_pytorchs_names(tree):
    names = {"kernel": "weight", "scale": "weight"}
    names |= {"mean": "running_mean", "var": "running_var"}
    out = {}
    for path, array in trees.named_leaves(tree).items():
        _, *layers, own = path.split("/")
        out[".".join([*layers, names.get(own, own)])] = np.asarray(array)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("densenet121", {"width": 0.125}),
        ("efficientnet_lite0", {"width": 0.125}),
        ("googlenet", {"width": 0.125}),
        ("googlenet_cifar", {"width": 0.125}),
        ("mobilenet_v2", {"width": 0.25}),
        ("resnet50", {"width": 0.125}),
        ("unet", {"width": 0.125}),
        ("vgg16_bn", {"width": 0.0625}),
        ("wide_resnet28_10", {"width": 0.1}),
    ],
)
@pytest.mark.usefixtures("torch")
def test_live_references_of_other_networks(name, options):
    """Strict, so every name, every shape, every epsilon and every momentum agrees."""
    from tests.models.torch_reference.build import BUILDERS

    net = BUILDERS[name](num_classes=10, **options)
    found = _under_pytorchs_names(
        torch_import.variables(name, net, num_classes=10, **options)
    )
    kernel_axes = {4: (2, 3, 1, 0), 2: (1, 0)}
    for key, tensor in net.state_dict().items():
        theirs = tensor.numpy()
        axes = kernel_axes.get(theirs.ndim)
        if name == "unet" and key.endswith("up.weight"):
            axes = (2, 3, 0, 1)
        if not torch_names.is_counter(key):
            ours = found.pop(key)
            np.testing.assert_array_equal(ours, theirs.transpose(axes), key)
    assert not found


def test_kernels_mean_what_they_mean_in_pytorch(torch):
    """Transposed and grouped convolutions, each against PyTorch's own."""
    f = torch.nn.functional
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 6, 5, 4)).astype(np.float32)
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())

    params = {
        "kernel": jnp.asarray(rng.normal(size=(2, 2, 4, 3))),
        "bias": jnp.asarray(rng.normal(size=3)),
    }
    axes = layout_of("unet", width=0.125).leaves["up_path.0.up.weight"].axes
    leaf = Leaf("params/up/kernel", "up.weight", (2, 2, 4, 3), axes)
    weight = torch.from_numpy(to_torch(params["kernel"], leaf))
    bias = torch.from_numpy(np.array(params["bias"]))
    theirs = f.conv_transpose2d(image, weight, bias, stride=2)
    ours = jax.jit(UpConv(3).apply)({"params": params}, jnp.asarray(x))
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), atol=1e-5)

    kernel = rng.normal(size=(3, 3, 1, 8)).astype(np.float32)  # 4 groups, 2 out each
    depthwise = layout_of("mobilenet_v2").leaves["features.1.conv.0.0.weight"]
    leaf = Leaf("params/c/kernel", "c.weight", kernel.shape, depthwise.axes)
    theirs = f.conv2d(image, torch.from_numpy(to_torch(kernel, leaf)), groups=4)
    layout = ("NHWC", "HWIO", "NHWC")
    ours = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=layout, feature_group_count=4
    )
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), atol=1e-5)


def test_safetensors_of_half_and_double_precision(random_dict, tmp_path):
    small = {k: v.astype(ml_dtypes.bfloat16) for k, v in random_dict.items()}
    small["fc.weight"] = random_dict["fc.weight"].astype(np.float16)
    small["fc.bias"] = random_dict["fc.bias"].astype(np.float64) + 1e-12
    small["bn1.num_batches_tracked"] = np.array(7)
    save_file(small, tmp_path / "half.safetensors")
    found = torch_import.load("resnet18", tmp_path / "half.safetensors", **OPTIONS)
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    params = found["params"]
    np.testing.assert_array_equal(
        params["fc"]["kernel"], small["fc.weight"].T.astype(np.float32)
    )
    np.testing.assert_array_equal(params["fc"]["bias"], random_dict["fc.bias"])
    np.testing.assert_array_equal(
        found["batch_stats"]["bn1"]["var"],
        small["bn1.running_var"].astype(np.float32),
    )


def test_all_that_is_wrong_is_said_at_once(random_dict):
    broken = dict(random_dict)
    del broken["bn1.weight"], broken["layer3.1.conv2.weight"]
    broken["head.weight"] = broken["fc.weight"]
    broken["conv1.weight"] = np.zeros((16, 3, 3, 3), np.float32)
    broken["layer1.0.bn1.bias"] = np.full(16, np.nan, np.float32)
    broken["layer1.0.bn2.bias"] = np.full(16, 1e300)
    broken["layer1.1.bn1.bias"] = np.ones(16, np.int8)
    broken["layer1.1.bn2.bias"] = "a string"
    with pytest.raises(ValueError, match="do not fit resnet18") as error:
        torch_import.variables("resnet18", broken, **OPTIONS)
    assert str(error.value).split("\n") == [
        "the weights do not fit resnet18:",
        "  not tensors: 'layer1.1.bn2.bias' is a str",
        "  missing: bn1.weight, layer1.1.bn2.bias, layer3.1.conv2.weight",
        "  unused: head.weight",
        "  wrong shape: conv1.weight is (16, 3, 3, 3), must be (16, 3, 7, 7)",
        "  not floats: layer1.1.bn1.bias (int8)",
        "  not finite: layer1.0.bn1.bias, layer1.0.bn2.bias",
    ]


def test_another_number_of_classes_names_the_option(random_dict):
    with pytest.raises(ValueError, match="num_classes=10 fits, asked was for 100"):
        torch_import.variables("resnet18", random_dict, num_classes=100, width=WIDTH)
    with pytest.raises(ValueError, match="wrong shape") as error:
        torch_import.variables("resnet18", random_dict, num_classes=10)
    assert "num_classes" not in str(error.value)  # it is the width


def test_a_new_head_takes_the_place_of_the_last_layer(tmp_path):
    rng, leaves = np.random.default_rng(0), layout_of("lenet5").leaves.values()
    theirs = {x.name: rng.random(x.torch_shape, np.float32) for x in leaves}
    save_file(theirs, tmp_path / "w.safetensors")
    headless = {name: theirs[name] for name in theirs if "fc3" not in name}
    head = {"kernel": np.full((84, 3), 7.0), "bias": np.full(3, 7.0)}
    given = {"num_classes": 3, "new_head": {"params": {"fc3": head}}}
    whole = torch_import.variables("lenet5", theirs)
    for found in (
        torch_import.variables("lenet5", theirs, **given),
        torch_import.variables("lenet5", headless, **given),
        torch_import.load("lenet5", tmp_path / "w.safetensors", **given),
    ):
        assert found["params"].keys() == whole["params"].keys()
        _same(found["params"], {**whole["params"], "fc3": head})
    with pytest.raises(ValueError, match=r"hold params/fc3/bias of shape \(10,\), got"):
        torch_import.variables("lenet5", theirs, new_head=given["new_head"])
    del head["bias"]
    with pytest.raises(ValueError, match=r"bias of shape \(3,\), got nothing"):
        torch_import.variables("lenet5", theirs, **given)


def test_masks_of_a_last_layer_that_is_replaced_are_left_out():
    mask = {
        f"fc{i}.weight_mask": np.ones(s) for i, s in ((2, (84, 120)), (3, (10, 84)))
    }
    weights = {name.replace("mask", "orig"): x for name, x in mask.items()}
    given = {"num_classes": 3, "new_head": True}
    found = torch_import.masks("lenet5", mask | weights, **given)
    assert found["fc2"]["kernel"].shape == (120, 84)
    assert found["fc3"]["kernel"] is None
    with pytest.raises(ValueError, match=r"fc3.weight_mask is \(10, 84\), which is no"):
        torch_import.masks("lenet5", mask | weights, num_classes=3)


def test_what_can_be_allowed(random_dict):
    odd = {**random_dict, "aux.fc.weight": random_dict["fc.weight"]}
    odd["fc.bias"] = np.full(10, np.inf, np.float32)
    with pytest.raises(ValueError, match=r"unused: aux.fc.weight\n  not finite: fc"):
        torch_import.variables("resnet18", odd, **OPTIONS)
    allowed = {"ignore": ["^aux"], "allow_non_finite": True}
    found = torch_import.variables("resnet18", odd, **allowed, **OPTIONS)
    assert np.isinf(found["params"]["fc"]["bias"]).all()
    for pattern, message in (("^head", "matches no name"), ("(", "is not a regex")):
        with pytest.raises(ValueError, match=message):
            torch_import.variables("resnet18", odd, ignore=[pattern], **OPTIONS)


def test_a_wrong_option_is_refused_before_the_file_is_read():
    with pytest.raises(ValueError, match=r"no option \['depth'\]"):
        torch_import.load("resnet18", "absent.safetensors", depth=3)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        torch_import.load("resnet18", "absent.safetensors")
