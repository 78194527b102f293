"""Networks with a tap on every post-ReLU map and the names of public PyTorch code."""

from dst_jax.models.cifar_googlenet import CifarGoogLeNet
from dst_jax.models.cifar_resnet import CifarResNet
from dst_jax.models.densenet import CifarDenseNet, DenseNet
from dst_jax.models.googlenet import GoogLeNet
from dst_jax.models.lenet import LeNet5
from dst_jax.models.mlp import MLP
from dst_jax.models.mobilenet_v1 import MobileNetV1
from dst_jax.models.mobilenet_v2 import MobileNetV2
from dst_jax.models.normalization import BatchNorm
from dst_jax.models.registry import Task, create, names, options, task
from dst_jax.models.resnet import ResNet
from dst_jax.models.unet import UNet
from dst_jax.models.vgg import VGG
from dst_jax.models.vit import VisionTransformer
from dst_jax.models.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "VGG",
    "BatchNorm",
    "CifarDenseNet",
    "CifarGoogLeNet",
    "CifarResNet",
    "DenseNet",
    "GoogLeNet",
    "LeNet5",
    "MobileNetV1",
    "MobileNetV2",
    "ResNet",
    "Task",
    "UNet",
    "VisionTransformer",
    "WideResNet",
    "create",
    "names",
    "options",
    "task",
]
