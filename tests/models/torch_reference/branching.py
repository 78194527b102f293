"""GoogLeNet and DenseNet in plain torch, in torchvision's and in their CIFAR forms."""

from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

# 1x1; 3x3 reduced and 3x3; 5x5 reduced and 5x5; pooled.
TABLE = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Unit(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    def __init__(self, inputs, one, reduced3, three, reduced5, five, pooled):
        super().__init__()
        self.branch1 = Unit(inputs, one, 1)
        self.branch2 = nn.Sequential(
            Unit(inputs, reduced3, 1), Unit(reduced3, three, 3)
        )
        self.branch3 = nn.Sequential(Unit(inputs, reduced5, 1), Unit(reduced5, five, 3))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True), Unit(inputs, pooled, 1)
        )

    def forward(self, x):
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(x) for branch in branches], 1)


class Auxiliary(nn.Module):
    def __init__(self, inputs, num_classes, width):
        super().__init__()
        features, hidden = round(128 * width), round(1024 * width)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = Unit(inputs, features, 1)
        self.fc1 = nn.Linear(16 * features, hidden)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x):  # without its dropout: the tests switch ours off
        x = self.conv(self.pool(x)).flatten(1)
        return self.fc2(self.relu(self.fc1(x)))


class GoogLeNet(nn.Module):
    def __init__(self, num_classes, width=1.0, aux_logits=False, transform_input=False):
        super().__init__()
        first, third = round(64 * width), round(192 * width)
        self.conv1 = Unit(3, first, 7, 2)
        self.conv2 = Unit(first, first, 1)
        self.conv3 = Unit(first, third, 3)
        inputs = third
        for name, sizes in TABLE.items():
            sizes = [round(size * width) for size in sizes]
            setattr(self, f"inception{name}", Inception(inputs, *sizes))
            inputs = sizes[0] + sizes[2] + sizes[4] + sizes[5]
            if aux_logits and name in ("4a", "4d"):
                auxiliary = Auxiliary(inputs, num_classes, width)
                setattr(self, "aux1" if name == "4a" else "aux2", auxiliary)
        self.fc = nn.Linear(inputs, num_classes)
        self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool2 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.aux_logits, self.transform_input = aux_logits, transform_input

    def forward(self, x):
        if self.transform_input:
            deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
            mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
            x = (x * deviation + mean - 0.5) / 0.5
        x = self.pool3(self.conv1(x))
        x = self.pool3(self.conv3(self.conv2(x)))
        self.auxiliary = []
        for name in TABLE:
            x = self.pool3(x) if name == "4a" else x
            x = self.pool2(x) if name == "5a" else x
            x = getattr(self, f"inception{name}")(x)
            if self.training and self.aux_logits and name in ("4a", "4d"):
                head = self.aux1 if name == "4a" else self.aux2
                self.auxiliary.append(head(x))
        return self.fc(x.mean((2, 3)))


def unit(inputs, outputs, size, eps=1e-5):
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    return convolution, nn.BatchNorm2d(outputs, eps), nn.ReLU()


class CifarInception(nn.Module):
    def __init__(self, inputs, one, reduced3, three, reduced5, five, pooled, large_eps):
        super().__init__()
        self.b1 = nn.Sequential(*unit(inputs, one, 1))
        self.b2 = nn.Sequential(*unit(inputs, reduced3, 1), *unit(reduced3, three, 3))
        self.b3 = nn.Sequential(
            *unit(inputs, reduced5, 1),
            *unit(reduced5, five, 3, five if large_eps else 1e-5),
            *unit(five, five, 3),
        )
        self.b4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), *unit(inputs, pooled, 1))

    def forward(self, x):
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


class CifarGoogLeNet(nn.Module):
    def __init__(self, num_classes, width=1.0, large_eps=True):
        super().__init__()
        layers, inputs = [], 3
        for size in (64, 64, 192):
            size = round(size * width)
            layers += [
                nn.Conv2d(inputs, size, 3, padding=1, bias=False),
                nn.BatchNorm2d(size),
                nn.ReLU(),
            ]
            inputs = size
        self.prelayer = nn.Sequential(*layers)
        for name, sizes in TABLE.items():
            sizes = [round(size * width) for size in sizes]
            setattr(self, name[::-1], CifarInception(inputs, *sizes, large_eps))
            inputs = sizes[0] + sizes[2] + sizes[4] + sizes[5]
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = self.pool(self.prelayer(x))
        for name in TABLE:
            x = self.pool(x) if name in ("4a", "5a") else x
            x = getattr(self, name[::-1])(x)
        return self.linear(x.mean((2, 3)))


class Appending(nn.Module):
    """The input's channels, then those that `layers` make of it."""

    def __init__(self, **layers):
        super().__init__()
        self.order = list(layers)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        y = x
        for name in self.order:
            y = getattr(self, name)(y)
        return torch.cat([x, y], 1)


def bottleneck(inputs, growth):
    return (
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, 4 * growth, 1, bias=False),
        nn.BatchNorm2d(4 * growth),
        nn.ReLU(),
        nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
    )


class DenseNet(nn.Module):
    def __init__(self, blocks, num_classes, width=1.0):
        super().__init__()
        growth = round(32 * width)
        channels = 2 * growth
        layers = OrderedDict(
            conv0=nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        names = "norm1", "relu1", "conv1", "norm2", "relu2", "conv2"
        for i, count in enumerate(blocks, start=1):
            block = OrderedDict()
            for j in range(count):
                parts = dict(zip(names, bottleneck(channels, growth), strict=True))
                block[f"denselayer{j + 1}"] = Appending(**parts)
                channels += growth
            layers[f"denseblock{i}"] = nn.Sequential(block)
            if i < len(blocks):
                layers[f"transition{i}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(channels),
                        relu=nn.ReLU(),
                        conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2),
                    )
                )
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.classifier(self.relu(self.features(x)).mean((2, 3)))


class CifarDenseNet(nn.Module):
    def __init__(self, blocks, num_classes, width=1.0, transition_relu=False):
        super().__init__()
        growth = round(32 * width)
        channels = 2 * growth
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        layers = OrderedDict()
        for i, count in enumerate(blocks):
            block = OrderedDict()
            for j in range(count):
                parts = nn.Sequential(*bottleneck(channels, growth))
                block[f"bottle_neck_layer_{j}"] = Appending(bottle_neck=parts)
                channels += growth
            if i == len(blocks) - 1:
                layers[f"dense_block{i}"] = nn.Sequential(block)
                continue
            layers[f"dense_block_layer_{i}"] = nn.Sequential(block)
            down = OrderedDict({"0": nn.BatchNorm2d(channels)})
            if transition_relu:
                down["relu"] = nn.ReLU()
            down["1"] = nn.Conv2d(channels, channels // 2, 1, bias=False)
            down["2"] = nn.AvgPool2d(2)
            transition = OrderedDict(down_sample=nn.Sequential(down))
            layers[f"transition_layer_{i}"] = nn.Sequential(transition)
            channels //= 2
        layers["bn"], layers["relu"] = nn.BatchNorm2d(channels), nn.ReLU()
        self.features = nn.Sequential(layers)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.linear(self.features(self.conv1(x)).mean((2, 3)))
