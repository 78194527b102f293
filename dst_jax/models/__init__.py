"""Networks with a tap on every post-ReLU map and torchvision's parameter names."""

from dst_jax.models.lenet import LeNet5
from dst_jax.models.registry import create, names
from dst_jax.models.resnet import ResNet

__all__ = ["LeNet5", "ResNet", "create", "names"]
