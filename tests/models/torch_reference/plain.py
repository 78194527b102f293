"""Networks without branches in plain torch: LeNet5, MLP, VGG, MobileNets, Lite."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


class LeNet5(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 6, 5), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(6, 16, 5), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.fc1, self.relu3 = nn.Linear(256, 120), nn.ReLU()
        self.fc2, self.relu4 = nn.Linear(120, 84), nn.ReLU()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.pool(self.relu2(self.conv2(x))).flatten(1)
        return self.fc3(self.relu4(self.fc2(self.relu3(self.fc1(x)))))


class MLP(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc1, self.relu1 = nn.Linear(784, 300), nn.ReLU()
        self.fc2, self.relu2 = nn.Linear(300, 100), nn.ReLU()
        self.fc3 = nn.Linear(100, num_classes)

    def forward(self, x):
        return self.fc3(self.relu2(self.fc2(self.relu1(self.fc1(x.flatten(1))))))


class VGG(nn.Module):
    def __init__(self, counts, num_classes, width=1.0, stem="imagenet"):
        super().__init__()
        layers, inputs = [], 3
        for size, count in zip((64, 128, 256, 512, 512), counts, strict=True):
            for _ in range(count):
                outputs = round(size * width)
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        side = 7 if stem == "imagenet" else 1
        self.avgpool = nn.AdaptiveAvgPool2d(7) if side == 7 else nn.Identity()
        hidden = round(4096 * width)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * side * side, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def multiple_of_8(channels):
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class Separable(nn.Module):
    def __init__(self, inputs, outputs, stride, relu):
        super().__init__()
        self.conv_dw = nn.Conv2d(
            inputs, inputs, 3, stride, 1, groups=inputs, bias=False
        )
        self.bn1, self.relu1 = nn.BatchNorm2d(inputs), relu()
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(outputs), relu()

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv_dw(x)))
        return self.relu2(self.bn2(self.conv_pw(x)))


class MobileNetV1(nn.Module):
    def __init__(self, num_classes, width=1.0, relu_cap=6.0, stem="imagenet"):
        super().__init__()
        relu = nn.ReLU if relu_cap is None else nn.ReLU6
        inputs = multiple_of_8(32 * width)
        stride = 2 if stem == "imagenet" else 1
        self.conv_stem = nn.Conv2d(3, inputs, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(inputs), relu()
        stages = []
        table = (64, 1), (128, 2), (256, 2), (512, 6), (1024, 2)
        for i, (size, count) in enumerate(table):
            blocks, outputs = [], multiple_of_8(size * width)
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(Separable(inputs, outputs, stride, relu))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = self.blocks(self.relu(self.bn1(self.conv_stem(x))))
        return self.classifier(x.mean((2, 3)))


def unit(inputs, outputs, size, stride=1, groups=1):
    convolution = nn.Conv2d(
        inputs, outputs, size, stride, size // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        layers = [] if expansion == 1 else [unit(inputs, hidden, 1)]
        layers += [
            unit(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, num_classes, width=1.0, stem="imagenet"):
        super().__init__()
        inputs = multiple_of_8(32 * width)
        strided = stem == "imagenet"
        layers = [unit(3, inputs, 3, 2 if strided else 1)]
        for expansion, size, count, stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2 if strided else 1),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            outputs = multiple_of_8(size * width)
            for j in range(count):
                block = InvertedResidual(inputs, outputs, 1 if j else stride, expansion)
                layers.append(block)
                inputs = outputs
        last = multiple_of_8(1280 * max(width, 1.0))
        self.features = nn.Sequential(*layers, unit(inputs, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def same(inputs, outputs, size, stride=1, groups=1):
    """A convolution padded as `SAME` pads 224 pixels and their halves, for any size."""
    total = size - stride  # of an even side
    before, after = total // 2, total - total // 2

    class SameConv2d(nn.Conv2d):
        def forward(self, x):
            return super().forward(nn.functional.pad(x, (before, after) * 2))

    return SameConv2d(inputs, outputs, size, stride, groups=groups, bias=False)


def lite_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=1 - 0.99)


class LiteBlock(nn.Module):
    def __init__(self, inputs, outputs, size, stride, expansion, drop):
        super().__init__()
        hidden, self.expands = inputs * expansion, expansion != 1
        self.adds, self.drop = stride == 1 and inputs == outputs, drop
        if self.expands:
            self.conv_pw = same(inputs, hidden, 1)
            self.bn1, self.relu1 = lite_norm(hidden), nn.ReLU6()
            self.conv_dw = same(hidden, hidden, size, stride, hidden)
            self.bn2, self.relu2 = lite_norm(hidden), nn.ReLU6()
            self.conv_pwl, self.bn3 = same(hidden, outputs, 1), lite_norm(outputs)
        else:
            self.conv_dw = same(hidden, hidden, size, stride, hidden)
            self.bn1, self.relu1 = lite_norm(hidden), nn.ReLU6()
            self.conv_pw, self.bn2 = same(hidden, outputs, 1), lite_norm(outputs)

    def forward(self, x):
        if self.expands:
            y = self.relu1(self.bn1(self.conv_pw(x)))
            y = self.bn3(self.conv_pwl(self.relu2(self.bn2(self.conv_dw(y)))))
        else:
            y = self.bn2(self.conv_pw(self.relu1(self.bn1(self.conv_dw(x)))))
        if self.adds and self.training and self.drop:
            kept = torch.rand(len(x), 1, 1, 1) >= self.drop
            y = y / (1 - self.drop) * kept
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    def __init__(self, blocks, num_classes, width=1.0, drop_connect=0.2):
        super().__init__()
        self.conv_stem, inputs = same(3, 32, 3, 2), 32
        self.bn1, self.relu1 = lite_norm(32), nn.ReLU6()
        stages, done = [], 0
        for repeats, (expansion, size, channels, stride) in zip(
            blocks,
            (
                (1, 3, 16, 1),
                (6, 3, 24, 2),
                (6, 5, 40, 2),
                (6, 3, 80, 2),
                (6, 5, 112, 1),
                (6, 5, 192, 2),
                (6, 3, 320, 1),
            ),
            strict=True,
        ):
            stage, outputs = [], multiple_of_8(channels * width)
            for i in range(repeats):
                drop = drop_connect * done / sum(blocks)
                args = inputs, outputs, size, 1 if i else stride, expansion, drop
                stage.append(LiteBlock(*args))
                inputs, done = outputs, done + 1
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = same(inputs, 1280, 1), lite_norm(1280)
        self.relu2, self.dropout = nn.ReLU6(), nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, num_classes)

    def forward(self, x):
        x = self.blocks(self.relu1(self.bn1(self.conv_stem(x))))
        x = self.relu2(self.bn2(self.conv_head(x)))
        return self.classifier(self.dropout(x.mean((2, 3))))
