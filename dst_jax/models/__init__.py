"""Networks with a tap on every post-ReLU map and the names of public PyTorch code."""

from dst_jax.models.networks.cifar_googlenet import CifarGoogLeNet
from dst_jax.models.networks.cifar_resnet import CifarResNet
from dst_jax.models.networks.densenet import CifarDenseNet, DenseNet
from dst_jax.models.networks.efficientnet_lite import EfficientNetLite
from dst_jax.models.networks.googlenet import GoogLeNet
from dst_jax.models.networks.lenet import LeNet5
from dst_jax.models.networks.mlp import MLP
from dst_jax.models.networks.mobilenet_v1 import MobileNetV1
from dst_jax.models.networks.mobilenet_v2 import MobileNetV2
from dst_jax.models.networks.normalization import BatchNorm
from dst_jax.models.networks.resnet import ResNet
from dst_jax.models.networks.unet import UNet
from dst_jax.models.networks.vgg import VGG
from dst_jax.models.networks.vit import VisionTransformer
from dst_jax.models.networks.wide_resnet import WideResNet
from dst_jax.models.registry import Publication, create, names, options, task

__all__ = [
    "MLP",
    "VGG",
    "BatchNorm",
    "CifarDenseNet",
    "CifarGoogLeNet",
    "CifarResNet",
    "DenseNet",
    "EfficientNetLite",
    "GoogLeNet",
    "LeNet5",
    "MobileNetV1",
    "MobileNetV2",
    "Publication",
    "ResNet",
    "UNet",
    "VisionTransformer",
    "WideResNet",
    "create",
    "names",
    "options",
    "task",
]
