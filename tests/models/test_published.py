"""Parameters, MACs, maps and names are those of the public implementations."""

import jax
import jax.numpy as jnp
import pytest

from dst_jax import models, trees
from dst_jax.models.summary import layers

# Parameters, MACs (padding counted), taps and map elements of one image. The integers
# are sums over the layers' shapes; what is public of them:
#   torchvision's weights state parameters exactly and GMACs to three digits: resnet18
#     1.814, resnet34 3.664, resnet50 4.089, wide_resnet50_2 11.398, densenet121 2.834,
#     googlenet 1.498 (of 6,624,904 parameters, without the auxiliary heads), vgg16_bn
#     15.47, vgg19_bn 19.632, mobilenet_v2 0.301;
#   He et al. 2016, table 6: ResNet-20 0.27 M, 32 0.46 M, 44 0.66 M, 56 0.85 M, 110
#     1.7 M;
#   Zagoruyko & Komodakis 2016, table 5: WRN-28-10 36.5 M;
#   Howard et al. 2017, table 4: MobileNet 4.2 M parameters, 569 M products;
#   weiaicunzai/pytorch-cifar100, README: densenet121 7.0 M. Its googlenet, 6.2 M there,
#     had one layer in front when that was written, which makes 6.26 M;
#   tensorflow/tpu, README of EfficientNet-Lite: lite0 4.7 M, 407 M multiply-adds, which
#     is 5.7 % more than its layers have; timm's card of tf_efficientnet_lite0: 4.7 M,
#     0.4 GMACs, 6.7 M elements at the outputs of convolutions (6.74 M here, of which
#     6.16 M are post-ReLU6); keras-hub: 4,652,008 parameters;
#   timm, model card of deit_tiny (the same network with GELU): 5.7 M, 1.3 GMACs;
#   LeNet-300-100 has 266,610 parameters in all of the pruning literature; CRISP reports
#     31.04 M for its U-Net of 8 classes, 31,032,200 here, and has a gate per channel.
PUBLISHED = {
    "densenet121": (7_978_856, 2_834_161_664, 121, 15_667_456),
    "densenet121_cifar": (7_048_548, 888_442_880, 117, 4_395_008),
    "efficientnet_lite0": (4_652_008, 385_187_552, 33, 6_157_536),
    "googlenet": (6_624_904, 1_498_376_192, 57, 3_226_160),
    "googlenet_cifar": (6_402_564, 531_976_192, 66, 917_248),
    "lenet5": (44_426, 281_640, 4, 4_684),
    "mlp": (266_610, 266_200, 2, 400),
    "mobilenet_v1": (4_231_976, 568_740_352, 27, 5_042_688),
    "mobilenet_v2": (3_504_872, 300_774_272, 35, 6_105_792),
    "resnet110": (1_727_962, 252_887_680, 109, 1_048_576),
    "resnet18": (11_689_512, 1_814_073_344, 17, 2_308_096),
    "resnet20": (269_722, 40_551_040, 19, 188_416),
    "resnet32": (464_154, 68_862_592, 31, 303_104),
    "resnet34": (21_797_672, 3_663_761_408, 33, 3_562_496),
    "resnet44": (658_586, 97_174_144, 43, 417_792),
    "resnet50": (25_557_032, 4_089_184_256, 49, 9_608_704),
    "resnet56": (853_018, 125_485_696, 55, 532_480),
    "unet": (31_031_810, 192_686_325_760, 18, 127_926_272),
    "vgg16_bn": (138_365_992, 15_470_264_320, 15, 13_555_712),
    "vgg19_bn": (143_678_248, 19_632_062_464, 18, 14_860_288),
    "vit_small": (22_050_664, 4_598_882_304, 12, 3_631_104),
    "vit_tiny": (5_717_416, 1_253_683_200, 12, 1_815_552),
    "wide_resnet28_10": (36_479_194, 5_243_328_768, 25, 2_310_144),
    "wide_resnet50_2": (68_883_240, 11_398_021_120, 49, 12_895_232),
}


def _model(name, **options):
    task = models.task(name, stem=options.get("stem"))
    return models.create(name, num_classes=task.num_classes, **options), task.image


def _shapes(name):
    """Shapes of parameters and statistics by path."""
    model, image = _model(name)
    x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    return {k: leaf.shape for k, leaf in trees.named_leaves(variables).items()}


def test_every_network_is_here():
    assert PUBLISHED.keys() == set(models.names())


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    rows = layers(*_model(name))
    found = (
        sum(row.parameters for row in rows),
        sum(row.macs for row in rows),
        sum(row.activations > 0 for row in rows),
        sum(row.activations for row in rows),
    )
    assert found == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        # The README of weiaicunzai/pytorch-cifar100: 34.0 M, 39.0 M, 11.2 M.
        ("vgg16_bn", {"stem": "cifar"}, 34_015_396),
        ("vgg19_bn", {"stem": "cifar"}, 39_327_652),
        ("resnet18", {"stem": "cifar"}, 11_220_132),
    ],
)
def test_cifar_stems_have_the_published_parameters(name, options, parameters):
    model = models.create(name, num_classes=100, **options)
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert trees.count(variables["params"]) == parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_one_to_one_with_the_reference(torch, name):
    from tests.models.torch_reference.build import BUILDERS

    with torch.device("meta"):  # shapes without memory
        reference = BUILDERS[name](num_classes=models.task(name).num_classes)
    state = reference.state_dict()
    expected = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert {_torch_name(k): _torch_shape(k, s) for k, s in _shapes(name).items()} == {
        key: shape for key, shape in expected.items() if "num_batches" not in key
    }


def _torch_name(path):
    _, *parts, leaf = path.split("/")
    leaves = {"mean": "running_mean", "var": "running_var"}
    leaves |= {"kernel": "weight", "scale": "weight"}
    return ".".join([*parts, leaves.get(leaf, leaf)])


def _torch_shape(path, shape):
    if not path.endswith("kernel"):
        return shape
    if path.endswith("up/kernel"):  # transposed: input channels first
        return (*shape[2:], *shape[:2])
    return (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
