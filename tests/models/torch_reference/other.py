"""U-Net and a vision transformer in plain torch."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


class Cell(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.block(x)


class Up(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, 2)
        self.conv_block = Cell(2 * outputs, outputs)

    def forward(self, x, bridge):
        return self.conv_block(torch.cat([self.up(x), bridge], 1))


class UNet(nn.Module):
    def __init__(self, num_classes, width=1.0, depth=5):
        super().__init__()
        sizes = [round(64 * 2**i * width) for i in range(depth)]
        pairs = list(zip([3, *sizes], sizes, strict=False))
        self.down_path = nn.ModuleList(Cell(*pair) for pair in pairs)
        coarse_first = zip(sizes[:0:-1], sizes[-2::-1], strict=True)
        self.up_path = nn.ModuleList(Up(*pair) for pair in coarse_first)
        self.last = nn.Conv2d(sizes[0], num_classes, 1)

    def forward(self, x):
        maps = [self.down_path[0](x)]
        for cell in self.down_path[1:]:
            maps.append(cell(nn.functional.max_pool2d(maps[-1], 2)))
        x = maps.pop()
        for up in self.up_path:
            x = up(x, maps.pop())
        return self.last(x)


class Attention(nn.Module):
    def __init__(self, size, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size)
        self.proj = nn.Linear(size, size)

    def forward(self, x):
        n, tokens, size = x.shape
        q, k, v = (
            part.reshape(n, tokens, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).split(size, -1)
        )
        x = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(n, tokens, size))


class Mlp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.fc1, self.act = nn.Linear(size, 4 * size), nn.ReLU()
        self.fc2 = nn.Linear(4 * size, size)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, size, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(size, 1e-6), Attention(size, heads)
        self.norm2, self.mlp = nn.LayerNorm(size, 1e-6), Mlp(size)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, heads, num_classes, depth=12, patch=16, image=224):
        super().__init__()
        size = 64 * heads
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, size, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size))
        tokens = (image // patch) ** 2 + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, size))
        self.blocks = nn.Sequential(*[Block(size, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(size, 1e-6)
        self.head = nn.Linear(size, num_classes)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])
