"""Residual networks in plain torch, with the names of torchvision and others.

Written from the papers and from the names in the public state dicts. Every ReLU is a
module of its own, called as our tap is, so that a hook on it sees the same map.
"""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


def conv(inputs, outputs, size, stride=1):
    padding = size // 2
    return nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, features, stride, project):
        super().__init__()
        self.conv1 = conv(inputs, features, 3, stride)
        self.bn1 = nn.BatchNorm2d(features)
        self.relu1 = nn.ReLU()
        self.conv2 = conv(features, features, 3)
        self.bn2 = nn.BatchNorm2d(features)
        self.relu2 = nn.ReLU()
        project(self, inputs, features, stride)

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut_of(self, x))


class Bottleneck(nn.Module):
    expansion, inner = 4, 1

    def __init__(self, inputs, features, stride, project):
        super().__init__()
        inner, outer = self.inner * features, 4 * features
        self.conv1 = conv(inputs, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.conv2 = conv(inner, inner, 3, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv3 = conv(inner, outer, 1)
        self.bn3 = nn.BatchNorm2d(outer)
        self.relu3 = nn.ReLU()
        project(self, inputs, outer, stride)

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        return self.relu3(self.bn3(self.conv3(y)) + self.shortcut_of(self, x))


class WideBottleneck(Bottleneck):
    inner = 2


def projection(name):
    """A projecting shortcut of that name where the shape changes."""

    def attach(block, inputs, outputs, stride):
        block.shortcut_of = lambda block, x: x
        if stride != 1 or inputs != outputs:
            layers = conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            setattr(block, name, nn.Sequential(*layers))
            block.shortcut_of = lambda block, x: getattr(block, name)(x)

    return attach


def padding(block, inputs, outputs, stride):
    """The parameter-free shortcut: every other pixel, channels padded by zeros."""
    block.shortcut_of = lambda block, x: x
    if stride != 1 or inputs != outputs:
        pad = (outputs - inputs) // 2
        block.shortcut_of = lambda block, x: nn.functional.pad(
            x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad)
        )


def groups(block, inputs, sizes, counts, project):
    """`layer1`, `layer2`, ...: all but the first begin with stride 2."""
    for i, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        layers = []
        for j in range(count):
            stride = 2 if i > 0 and j == 0 else 1
            layers.append(block(inputs, size, stride, project))
            inputs = size * block.expansion
        yield f"layer{i + 1}", nn.Sequential(*layers)


class ResNet(nn.Module):
    def __init__(self, block, counts, num_classes, width=1.0, stem="imagenet"):
        super().__init__()
        features = round(64 * width)
        size, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = conv(3, features, size, stride)
        self.bn1 = nn.BatchNorm2d(features)
        self.relu = nn.ReLU()
        pool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.names, self.pool = [], pool
        sizes = [features * 2**i for i in range(len(counts))]
        shortcut = projection("downsample")
        for name, group in groups(block, features, sizes, counts, shortcut):
            setattr(self, name, group)
            self.names.append(name)
        self.fc = nn.Linear(sizes[-1] * block.expansion, num_classes)

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


class CifarResNet(nn.Module):
    def __init__(self, blocks, num_classes, width=1.0, shortcut="A"):
        super().__init__()
        sizes = [round(channels * width) for channels in (16, 32, 64)]
        self.conv1 = conv(3, sizes[0], 3)
        self.bn1 = nn.BatchNorm2d(sizes[0])
        self.relu = nn.ReLU()
        attach = padding if shortcut == "A" else projection("shortcut")
        for name, group in groups(Basic, sizes[0], sizes, [blocks] * 3, attach):
            setattr(self, name, group)
        self.linear = nn.Linear(sizes[-1], num_classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class PreActivation(nn.Module):
    def __init__(self, inputs, features, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = conv(inputs, features, 3, stride)
        self.bn2 = nn.BatchNorm2d(features)
        self.relu2 = nn.ReLU()
        self.conv2 = conv(features, features, 3)
        self.convShortcut = None
        if inputs != features:
            self.convShortcut = conv(inputs, features, 1, stride)

    def forward(self, x):
        y = self.relu1(self.bn1(x))
        z = self.conv2(self.relu2(self.bn2(self.conv1(y))))
        return z + (x if self.convShortcut is None else self.convShortcut(y))


class WideResNet(nn.Module):
    def __init__(self, depth, widening, num_classes, width=1.0):
        super().__init__()
        inputs = round(16 * width)
        self.conv1 = conv(3, inputs, 3)
        for i in range(3):
            size = round(16 * widening * 2**i * width)
            layers = []
            for j in range((depth - 4) // 6):
                layers.append(PreActivation(inputs, size, 2 if i and not j else 1))
                inputs = size
            group = nn.Module()
            group.layer = nn.Sequential(*layers)
            setattr(self, f"block{i + 1}", group)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group.layer(x)
        return self.fc(self.relu(self.bn1(x)).mean((2, 3)))
