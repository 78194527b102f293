"""Kernels of networks of three libraries by use."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dst_jax import kernels, models, trees
from dst_jax.kernels import Kernel

KEY = jax.random.key(0)
DENSE, FIRST = Kernel(inputs=(0,), outputs=(1,)), Kernel(inputs=(1,), outputs=(0,))
CONV = Kernel(window=(0, 1), inputs=(2,), outputs=(3,))
STACK = Kernel(stack=(0,), inputs=(1,), outputs=(2,))
HEADS = Kernel(inputs=(0,), outputs=(1, 2))
STACKED = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}


def linen(module: nn.Module, *inputs: Any) -> kernels.Kernels:
    """The kernels of `params`, without that name in front."""
    variables = jax.eval_shape(module.init, KEY, *inputs)
    found = kernels.by_use(module.apply)(variables, *inputs)
    own = {path.removeprefix("params/"): kernel for path, kernel in found.items()}
    return kernels.Kernels(own, leaves=found.leaves, conflicts=found.conflicts)


def nnx_kernels(make: Any, *inputs: Any) -> kernels.Kernels:
    graph, state = nnx.split(nnx.eval_shape(make))
    return kernels.by_use(lambda s, *inputs: nnx.merge(graph, s)(*inputs))(
        state, *inputs
    )


def of_modules(names: str, kernel: Kernel) -> dict[str, Kernel]:
    return {f"{name}/kernel": kernel for name in names.split()}


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_the_zoo(name):
    task = models.task(name)
    model = models.create(name, num_classes=task.num_classes)
    # One image: there a scale or a position has all axes of the map that it modifies.
    x = jax.ShapeDtypeStruct((1, *task.image), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)
    found = kernels.by_use(model.apply)(variables, x)
    assert list(found) == [path for path in found.leaves if path.endswith("/kernel")]
    for path, leaf in trees.named_leaves(variables).items():
        if path in found:
            assert found[path] == _usual(leaf.shape), path
    assert found.conflicts == {}


def _usual(shape: tuple[int, ...]) -> Kernel:
    if len(shape) == 2:
        return DENSE
    if shape[:2] == (2, 2):  # the U-Net's way up: one product for every place
        return Kernel(inputs=(2,), outputs=(0, 1, 3))
    depthwise = shape[:3] in ((3, 3, 1), (5, 5, 1)) and shape[3] > 6  # LeNet5 reads 1
    return dataclasses.replace(CONV, groups=shape[3] if depthwise else 1)


class Block(nn.Module):
    """Two layers with everything next to them that is no kernel."""

    @nn.compact
    def __call__(self, x, _=None):
        y = nn.LayerNorm(name="norm")(x)
        y = nn.DenseGeneral((2, 3), name="heads")(y)
        y = nn.DenseGeneral(4, axis=(-2, -1), name="out")(y)
        y = y * self.param("layer_scale", nn.initializers.ones, (1, 4))
        return nn.Dense(4, name="fc")(nn.relu(x + y)), None


BLOCK = of_modules("heads", HEADS) | of_modules("fc", DENSE)
BLOCK |= of_modules("out", Kernel(inputs=(0, 1), outputs=(2,)))


def _in_stack(found: dict[str, Kernel], name: str, at: int = 0) -> dict[str, Kernel]:
    """Kernels of a block whose layers are stacked along an axis."""

    def moved(axes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(axis + (axis >= at) for axis in axes)

    return {
        f"{name}/{path}": Kernel((at,), (), moved(k.inputs), moved(k.outputs))
        for path, k in found.items()
    }


def scanned(at: int, **options: Any) -> Any:
    return nn.scan(
        nn.remat(Block),
        variable_axes={"params": at},
        split_rngs={"params": True},
        length=3,
        **options,
    )


class Layers(nn.Module):
    """The block three times in one of several ways."""

    way: str

    @nn.compact
    def __call__(self, x):
        many = functools.partial(nn.vmap, Block, **STACKED, axis_size=3)
        match self.way:
            case "apart":
                for i in range(3):
                    x, _ = Block(name=f"block{i}")(x)
            case "scan":
                x, _ = scanned(0)(name="blocks")(x, None)
            case "scan over axis 1":
                x, _ = scanned(1)(name="blocks")(x, None)
            case "unrolled scan":
                x, _ = scanned(0, unroll=3)(name="blocks")(x, None)
            case "vmap":
                x, _ = many(in_axes=0)(name="blocks")(jnp.stack([x] * 3))
            case "vmap of the weights":
                x, _ = many(in_axes=None)(name="blocks")(x)
        return nn.Dense(5, name="head")(x)


WAYS = {
    "apart": {f"block{i}/{path}": k for i in range(3) for path, k in BLOCK.items()},
    "scan": _in_stack(BLOCK, "blocks"),
    "scan over axis 1": _in_stack(BLOCK, "blocks", at=1),
    "unrolled scan": _in_stack(BLOCK, "blocks"),
    "vmap": _in_stack(BLOCK, "blocks"),
    "vmap of the weights": _in_stack(BLOCK, "blocks"),
}


@pytest.mark.parametrize("way", WAYS)
def test_layers_of_linen(way):
    assert linen(Layers(way), jnp.ones((2, 4))) == WAYS[way] | {"head/kernel": DENSE}


def test_no_token_position_scale_or_bias_of_the_zoo_is_a_kernel():
    model = models.create("vit_tiny", num_classes=10)
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)
    used = kernels.by_use(model.apply)(variables, x)
    for found in (used, kernels.by_name(variables)):
        assert {path.rpartition("/")[2] for path in found} == {"kernel"}
    for leaf in ("cls_token", "pos_embed", "norm/scale", "norm/bias", "head/bias"):
        assert f"params/{leaf}" in used.leaves
        assert used.find(leaf) is None


def test_training_has_the_kernels_of_evaluation():
    model = models.create("resnet20", num_classes=10)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)

    def loss(params, state, x, key):
        out, updated = model.apply(
            {"params": params, **state},
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return jnp.square(out).sum(), updated

    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    gradient = kernels.by_use(jax.value_and_grad(loss, has_aux=True))
    trained = gradient(params, state, x, KEY)
    evaluated = kernels.by_use(model.apply)(variables, x)
    assert kernels.of(params, evaluated) == trained


@pytest.mark.parametrize("way", ["scan", "vmap", "vmap of the weights"])
def test_a_stack_is_its_layers_apart(way):
    x = jnp.ones((2, 4))

    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(Layers("apart").init, KEY, x)
    apart = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)["params"]
    blocks = [apart[f"block{i}"] for i in range(3)]
    stacked = {"blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)}
    stacked["head"] = apart["head"]

    def layers(way, params):
        found = kernels.by_use(Layers(way).apply)({"params": params}, x)
        return kernels.apart(params, kernels.of(params, found))

    expected = layers("apart", apart)
    for name in ("heads", "out", "fc"):
        for i, layer in enumerate(layers(way, stacked)["blocks"][name]["kernel"]):
            np.testing.assert_array_equal(layer, expected[f"block{i}"][name]["kernel"])
            assert layer.shape == {"heads": (4, 6), "out": (6, 4), "fc": (4, 4)}[name]


class NNXBlock(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.heads = nnx.LinearGeneral(4, (2, 3), rngs=rngs)
        self.out = nnx.LinearGeneral((2, 3), 4, axis=(-2, -1), rngs=rngs)
        self.layer_scale = nnx.Param(jnp.ones((1, 4)))
        self.fc = nnx.Linear(4, 4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        y = self.out(self.heads(self.dropout(self.norm(x)))) * self.layer_scale[...]
        return self.fc(nnx.relu(x + y))


class NNXLayers(nnx.Module):
    def __init__(self, way, rngs):
        self.way = way
        self.head = nnx.Linear(4, 5, rngs=rngs)
        if way == "apart":
            self.blocks = nnx.List([NNXBlock(rngs) for _ in range(3)])
        else:
            make = nnx.split_rngs(splits=3)(nnx.vmap(NNXBlock, in_axes=0))
            self.blocks = make(rngs)

    def __call__(self, x):
        match self.way:
            case "apart":
                for block in self.blocks:
                    x = block(x)
            case "scan":
                x = nnx.scan(
                    lambda block, x: block(x),
                    in_axes=(0, nnx.Carry),
                    out_axes=nnx.Carry,
                )(self.blocks, x)
            case "vmap":
                x = nnx.vmap(lambda block, x: block(x), in_axes=(0, None))(
                    self.blocks, x
                )
        return self.head(x)


@pytest.mark.parametrize("way", ["apart", "scan", "vmap"])
def test_layers_of_nnx(way):
    expected = _in_stack(BLOCK, "blocks")
    if way == "apart":
        expected = {f"blocks/{i}/{p}": k for i in range(3) for p, k in BLOCK.items()}
    found = nnx_kernels(lambda: NNXLayers(way, nnx.Rngs(0)), jnp.ones((2, 4)))
    assert found == expected | {"head/kernel": DENSE}
    assert found.find("params/blocks/fc/kernel") == found.get("blocks/fc/kernel")


ATTENTION = of_modules("query key value", HEADS)
ATTENTION |= of_modules("out", Kernel(inputs=(0, 1), outputs=(2,)))
LSTM = of_modules("cell/ii cell/if cell/ig cell/io", DENSE)
LSTM |= of_modules("cell/hi cell/hf cell/hg cell/ho", DENSE)
SEQUENCE, IMAGE = jnp.ones((1, 5, 6)), jnp.ones((1, 8, 8, 6))


class Tied(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(9, 4)
        return embed.attend(nn.Dense(4)(embed(tokens)))


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.SpectralNorm(nn.Dense(4, name="sn"))(x, update_stats=False)
        return nn.WeightNorm(nn.Dense(4, name="wn"))(x)


LINEN = {
    "attention": (
        nn.MultiHeadDotProductAttention(num_heads=3, normalize_qk=True),
        SEQUENCE,
        ATTENTION,
    ),
    "dense over axes": (
        nn.DenseGeneral((2, 3), axis=(-2, -1)),
        SEQUENCE,
        {"kernel": Kernel(inputs=(0, 1), outputs=(2, 3))},
    ),
    "dense by example": (
        nn.DenseGeneral(2, batch_dims=(0,)),
        SEQUENCE,
        {"kernel": STACK},
    ),
    "einsum": (nn.Einsum((6, 2, 3), "bti,iho->btho"), SEQUENCE, {"kernel": HEADS}),
    "convolution over time": (
        nn.Conv(4, (3,)),
        SEQUENCE,
        {"kernel": Kernel(window=(0,), inputs=(1,), outputs=(2,))},
    ),
    "grouped": (
        nn.Conv(12, (3, 3), feature_group_count=2),
        IMAGE,
        {"kernel": dataclasses.replace(CONV, groups=2)},
    ),
    "depthwise": (
        nn.Conv(12, (3, 3), feature_group_count=6),
        IMAGE,
        {"kernel": dataclasses.replace(CONV, groups=6)},
    ),
    "transposed": (nn.ConvTranspose(4, (3, 3), (2, 2)), IMAGE, {"kernel": CONV}),
    "transposed kernel": (
        nn.ConvTranspose(4, (3, 3), (2, 2), transpose_kernel=True),
        IMAGE,
        {"kernel": Kernel(window=(0, 1), inputs=(3,), outputs=(2,))},
    ),
    "locally connected": (
        nn.ConvLocal(4, (3, 3)),
        IMAGE,
        {"kernel": Kernel(stack=(0, 1), inputs=(2,), outputs=(3,))},
    ),
    "lstm": (nn.RNN(nn.LSTMCell(4)), SEQUENCE, LSTM),
    "lstm with fused gates": (nn.RNN(nn.OptimizedLSTMCell(4)), SEQUENCE, LSTM),
    "gru": (
        nn.RNN(nn.GRUCell(4)),
        SEQUENCE,
        of_modules("cell/ir cell/iz cell/in cell/hr cell/hz cell/hn", DENSE),
    ),
    "convolutional lstm": (
        nn.RNN(nn.ConvLSTMCell(4, (3, 3))),
        jnp.ones((1, 5, 8, 8, 6)),
        of_modules("cell/ih cell/hh", CONV),
    ),
    "tied embedding": (Tied(), jnp.ones((1, 5), int), of_modules("Dense_0", DENSE)),
    "normalised weights": (Normed(), jnp.ones((2, 6)), of_modules("sn wn", DENSE)),
}


@pytest.mark.parametrize("name", LINEN)
def test_modules_of_linen(name):
    module, x, expected = LINEN[name]
    assert linen(module, x) == expected


def test_attention_of_nnx():
    def make():
        return nnx.MultiHeadAttention(3, 6, decode=False, rngs=nnx.Rngs(0))

    assert nnx_kernels(make, SEQUENCE) == ATTENTION


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    depthwise: eqx.nn.Conv2d
    embedding: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    norm: eqx.nn.LayerNorm
    lstm: eqx.nn.LSTMCell
    size: int = eqx.field(static=True, default=4)

    def __call__(self, image, tokens):
        h = self.depthwise(jax.nn.relu(self.conv(image))).reshape(4, -1).T
        h = jax.vmap(self.norm)(h[:5] + jax.vmap(self.embedding)(tokens))
        h = jax.vmap(self.mlp)(self.attention(h, h, h))
        zeros = jnp.zeros(self.size)
        return jax.lax.scan(lambda c, x: (self.lstm(x, c), None), (zeros, zeros), h)[0]


def _equinox(key):
    keys = jax.random.split(key, 6)
    return Equinox(
        eqx.nn.Conv2d(3, 4, 3, key=keys[0]),
        eqx.nn.Conv2d(4, 4, 3, groups=4, key=keys[1]),
        eqx.nn.Embedding(9, 4, key=keys[2]),
        eqx.nn.MultiheadAttention(2, 4, key=keys[3]),
        eqx.nn.MLP(4, 4, 8, 1, key=keys[4]),
        eqx.nn.LayerNorm(4),
        eqx.nn.LSTMCell(4, 4, key=keys[5]),
    )


def _called(net, *inputs):
    return net(*inputs)


def _batched(net, *inputs):
    return jax.vmap(net)(*inputs)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_modules_of_equinox(batch, request):
    if batch:
        request.getfixturevalue("scan3_off")
    net = eqx.filter_eval_shape(_equinox, KEY)
    fn = _batched if batch else _called
    image, tokens = jnp.ones((*batch, 3, 8, 8)), jnp.zeros((*batch, 5), int)
    found = kernels.by_use(fn)(net, image, tokens)
    window = Kernel(window=(2, 3), inputs=(1,), outputs=(0,))
    names = "attention/query_proj attention/key_proj attention/value_proj "
    names += "attention/output_proj mlp/layers/0 mlp/layers/1"
    assert found == {
        "conv/weight": window,
        "depthwise/weight": dataclasses.replace(window, groups=4),
        "lstm/weight_ih": FIRST,
        "lstm/weight_hh": FIRST,
        **{f"{name}/weight": FIRST for name in names.split()},
    }
    assert "embedding/weight" in found.leaves


def test_an_ensemble_of_equinox():
    make = eqx.filter_vmap(lambda key: eqx.nn.MLP(4, 2, 8, 1, key=key))
    nets = eqx.filter_eval_shape(make, jax.random.split(KEY, 3))
    stack = Kernel(stack=(0,), inputs=(2,), outputs=(1,))
    expected = {f"layers/{i}/weight": stack for i in range(2)}
    for x in (jnp.ones(4), jnp.ones((3, 4))):
        axes = (eqx.if_array(0), 0 if x.ndim == 2 else None)
        fn = eqx.filter_vmap(_called, in_axes=axes)
        assert kernels.by_use(fn)(nets, x) == expected
