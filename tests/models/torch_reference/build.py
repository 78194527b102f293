"""Reference networks by our names."""

from functools import partial

from tests.models.torch_reference import branching, other, plain, residual

BUILDERS = {
    "densenet121": partial(branching.DenseNet, (6, 12, 24, 16)),
    "densenet121_cifar": partial(branching.CifarDenseNet, (6, 12, 24, 16)),
    "efficientnet_lite0": partial(plain.EfficientNetLite, (1, 2, 2, 3, 3, 4, 1)),
    "googlenet": branching.GoogLeNet,
    "googlenet_cifar": branching.CifarGoogLeNet,
    "lenet5": plain.LeNet5,
    "mlp": plain.MLP,
    "mobilenet_v1": plain.MobileNetV1,
    "mobilenet_v2": plain.MobileNetV2,
    "resnet18": partial(residual.ResNet, residual.Basic, (2, 2, 2, 2)),
    "resnet34": partial(residual.ResNet, residual.Basic, (3, 4, 6, 3)),
    "resnet50": partial(residual.ResNet, residual.Bottleneck, (3, 4, 6, 3)),
    "resnet20": partial(residual.CifarResNet, 3),
    "resnet32": partial(residual.CifarResNet, 5),
    "resnet44": partial(residual.CifarResNet, 7),
    "resnet56": partial(residual.CifarResNet, 9),
    "resnet110": partial(residual.CifarResNet, 18),
    "unet": other.UNet,
    "vgg16_bn": partial(plain.VGG, (2, 2, 3, 3, 3)),
    "vgg19_bn": partial(plain.VGG, (2, 2, 4, 4, 4)),
    "vit_small": partial(other.VisionTransformer, 6),
    "vit_tiny": partial(other.VisionTransformer, 3),
    "wide_resnet28_10": partial(residual.WideResNet, 28, 10),
    "wide_resnet50_2": partial(residual.ResNet, residual.WideBottleneck, (3, 4, 6, 3)),
}
