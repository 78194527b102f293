"""A network written in other ways has the same masks: a stack is its layers apart.

Blocks of attention and a dense layer are written apart, under `nn.scan`, under
`nn.vmap` (stacked along the second axis), in NNX and in Equinox. The reference is a
dict of plain matrices (inputs, outputs). From equal weights and gradients every method
makes the same masks, or draws as many weights in every layer; nothing but kernels is
pruned.
"""

import functools
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from dst_jax import kernels, models, penalties, pruning, trees
from dst_jax.pruning import at_init, masks, scores, structures, updates

pytestmark = pytest.mark.many_programs

STEPS, WIDTH, HEADS, BLOCKS, CLASSES = 4, 8, 2, 2, 4
INSIDE = ("attention/key", "attention/out", "attention/query", "attention/value", "fc")
LAYERS = [f"block{i}/{name}" for i in range(BLOCKS) for name in INSIDE] + ["head"]
X = jax.ShapeDtypeStruct((3, 5, WIDTH), jnp.float32)
KEY = jax.random.key(0)


def _matrices(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    """One matrix (inputs, outputs) for every layer, later layers larger."""
    rng = np.random.default_rng(seed)
    shapes = {name: (WIDTH, CLASSES if name == "head" else WIDTH) for name in LAYERS}
    return {
        name: rng.normal(size=shape).astype("f") * (1 + scale * i)
        for i, (name, shape) in enumerate(shapes.items())
    }


WEIGHTS = _matrices(0, scale=0.1)
GRADIENTS = [_matrices(1 + i, scale=0) for i in range(STEPS)]


class Block(nn.Module):
    """Attention and a dense layer, with all that is never pruned."""

    @nn.compact
    def __call__(self, x, _=None):
        attention = nn.MultiHeadDotProductAttention(HEADS, qkv_features=WIDTH)
        attention = attention.clone(name="attention", parent=self)
        x = x + attention(nn.LayerNorm(name="norm")(x))
        x = x * self.param("layer_scale", nn.initializers.ones, (1, 1, WIDTH))
        return nn.Dense(WIDTH, name="fc")(nn.relu(x)), None


class Network(nn.Module):
    """Blocks apart, under `nn.scan` or under `nn.vmap`."""

    way: str

    @nn.compact
    def __call__(self, x):
        tokens = nn.Embed(7, WIDTH, name="embed")(jnp.arange(x.shape[1]))
        position = self.param("pos_embedding", nn.initializers.ones, (1, 5, WIDTH))
        token = self.param("cls_token", nn.initializers.ones, (1, 1, WIDTH))
        x = x + tokens[None] + position + token
        options = {"split_rngs": {"params": True}}
        if self.way == "apart":
            for i in range(BLOCKS):
                x, _ = Block(name=f"block{i}")(x)
        elif self.way == "scan":
            over = {"variable_axes": {"params": 0}, "length": BLOCKS} | options
            x, _ = nn.scan(Block, **over)(name="blocks")(x, None)
        else:
            over = {"variable_axes": {"params": 1}, "axis_size": BLOCKS} | options
            many = jnp.stack([x] * BLOCKS)
            x = nn.vmap(Block, **over)(name="blocks")(many)[0].sum(0)
        return nn.Dense(CLASSES, name="head")(x)


class NnxBlock(nnx.Module):
    """`Block` in NNX."""

    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.layer_scale = nnx.Param(jnp.ones((1, 1, WIDTH)))
        self.fc = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        x = (x + self.attention(self.norm(x))) * self.layer_scale[...]
        return self.fc(nnx.relu(x))


class NnxNetwork(nnx.Module):
    """`Network` in NNX."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(7, WIDTH, rngs=rngs)
        self.cls_token = nnx.Param(jnp.ones((1, 1, WIDTH)))
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(BLOCKS)])
        self.head = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = x + self.embed(jnp.arange(x.shape[1]))[None] + self.cls_token[...]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class EqxBlock(eqx.Module):
    """`Block` in Equinox, outputs first."""

    attention: eqx.nn.MultiheadAttention
    fc: eqx.nn.Linear

    def __init__(self, key):
        self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=key)
        self.fc = eqx.nn.Linear(WIDTH, WIDTH, key=key)

    def __call__(self, x):
        return jax.vmap(self.fc)(jax.nn.relu(x + self.attention(x, x, x)))


class EqxNetwork(eqx.Module):
    """`Network` in Equinox."""

    embedding: eqx.nn.Embedding
    block: list[EqxBlock]
    head: eqx.nn.Linear

    def __init__(self):
        self.embedding = eqx.nn.Embedding(7, WIDTH, key=KEY)
        self.block = [EqxBlock(KEY) for _ in range(BLOCKS)]
        self.head = eqx.nn.Linear(WIDTH, CLASSES, key=KEY)

    def __call__(self, x):
        x = x + jax.vmap(self.embedding)(jnp.arange(len(x)))
        for block in self.block:
            x = block(x)
        return jax.vmap(self.head)(x)


class Way:
    """One way to write the network.

    Attributes:
      shapes: the parameters' shapes in their own containers.
      kernels: kernels by use; None = by name.
      paths: by layer, the path of its leaf and how a matrix is put into it.
    """

    def __init__(self, name: str):
        self.name = name
        self.shapes, self.kernels = getattr(self, f"_{name}")()

    def _plain(self):
        return {k: {"kernel": jnp.asarray(w)} for k, w in WEIGHTS.items()}, None

    def _apart(self):
        model = Network(self.name)
        params = jax.eval_shape(model.init, KEY, X)["params"]
        call = kernels.by_use(lambda p, x: model.apply({"params": p}, x))
        return params, call(params, X)

    _scan = _vmap = _apart

    def _nnx(self):
        graph, state, rest = nnx.split(
            nnx.eval_shape(lambda: NnxNetwork(nnx.Rngs(0))), nnx.Param, ...
        )
        call = kernels.by_use(lambda s, x: nnx.merge(graph, s, rest)(x))
        return state, call(state, X)

    def _equinox(self):
        shapes = eqx.filter_eval_shape(EqxNetwork)
        return eqx.filter(shapes, lambda x: isinstance(x, jax.ShapeDtypeStruct)), None

    def place(self, layer: str) -> tuple[str, int | None]:
        """The path of a layer's leaf, and its number in a stack."""
        if self.name in ("plain", "apart") or layer == "head":
            leaf = "weight" if self.name == "equinox" else "kernel"
            return f"{layer}/{leaf}", None
        block, name = layer.split("/", 1)
        i = int(block.removeprefix("block"))
        if self.name == "nnx":
            return f"blocks/{i}/{name}/kernel", None
        if self.name == "equinox":
            name = name.replace("out", "output") + ("_proj" if "/" in name else "")
            return f"block/{i}/{name}/weight", None
        return f"blocks/{name}/kernel", i

    def put(self, matrices: dict[str, np.ndarray], other: float) -> Any:
        """Parameters with a matrix in every layer; all other leaves are `other`."""
        named = trees.named_leaves(self.shapes)
        leaves = {k: np.full(w.shape, other, "f") for k, w in named.items()}
        for layer, matrix in matrices.items():
            path, i = self.place(layer)
            self._slice(leaves[path], i)[...] = self._turned(
                matrix, self._slice(leaves[path], i)
            )
        return trees.map_named(lambda path, _: jnp.asarray(leaves[path]), self.shapes)

    def get(self, tree: Any) -> dict[str, np.ndarray]:
        """The matrices in a tree shaped like the parameters."""
        named = {k: np.asarray(w) for k, w in trees.named_leaves(tree).items()}
        found = {}
        for layer, matrix in WEIGHTS.items():
            path, i = self.place(layer)
            part = self._slice(named[path], i)
            turned = part.T if self.name == "equinox" else part
            found[layer] = turned.reshape(matrix.shape)
        return found

    def _slice(self, leaf: np.ndarray, i: int | None) -> np.ndarray:
        if i is None:
            return leaf
        return leaf[i] if self.name == "scan" else leaf[:, i]

    def _turned(self, matrix: np.ndarray, part: np.ndarray) -> np.ndarray:
        return matrix.T if self.name == "equinox" else matrix.reshape(part.shape)

    def pruned(self) -> set[str]:
        """The paths of the kernels."""
        return {self.place(layer)[0] for layer in LAYERS}


WAYS = ("apart", "scan", "vmap", "nnx", "equinox")
way_of = functools.cache(Way)


@pytest.fixture(params=WAYS)
def way(request):
    return way_of(request.param)


def _first() -> dict[str, np.ndarray]:
    """A deterministic first mask: half of the inputs of every output."""
    plain = {k: jnp.asarray(w) for k, w in WEIGHTS.items()}
    size = scores.magnitude(plain)
    return updates.keep(size, 0.5, "uniform", structures.constant_fan_in())


# Layers that are equal get equal numbers, so that no rounding depends on their order:
# 64 and 32 weights halved, or in proportion to 16 and 12 (ER and ERK).
ERK = 1 - 344 / 672
OPTIONS: dict[str, dict[str, Any]] = {
    "srigl": {"output": ["head"], "drop_fraction": 0.5, "sparsity": ERK},
    "threshold": {"strength": 0.1, "penalty": penalties.l1, "threshold": 0.5},
    "gap": {"interval": 2, "partitions": [("attention", 0), ("fc|head", 1)]},
    "ac_dc": {"warmup": 1, "interval": 1, "end": 3},
    "constrained_l0": {"end": 1, "gates": optax.sgd(300.0)},
    "sr_ste": {"structure": structures.n_m(2, 4)},
    "auto_sparse": {"initial": -1.0},
    "halo": {"xi": 0.1, "psi": 0.1},
    "gradual_magnitude": {"curve": "linear", "end": 4},
    "mest": {"grow": "gradient", "bound": 0.25, "decay": "constant"}
    | {"distribution": "uniform"},
    "random": {"sparsity": ERK},
    "set": {"sparsity": ERK, "drop_fraction": 0.5},
    "rigl": {"drop_fraction": 0.5},
    "rigl_itop": {"structure": structures.channel("out"), "drop_fraction": 0.5}
    | {"sparsity": ERK},
    "chase": {"channel_sparsity": 0.25, "floor": 0.5, "channel_interval": 2},
    "granet": {"initial_sparsity": 0.3, "sparsity": 0.6},
    "east": {"sparsity": ERK, "period": 4, "cycles": 1, "relaxation": 1.25},
    "one_shot": {"structure": structures.channel("in"), "distribution": "uniform"},
    "static": {"structure": structures.constant_fan_in(), "distribution": "erk"}
    | {"sparsity": ERK},
    "gradual_movement": {"structure": structures.block((2, 2))},
    "ste": {"distribution": "er", "sparsity": ERK},
}
# Methods that begin at random are given their first mask, and grow by gradient.
GIVEN = ("rigl", "mest", "granet", "gap", "srigl", "chase", "east")
DRAWN = ("random", "set", "rigl_itop")


def _outputs(way: Way) -> SimpleNamespace:
    """The outputs of both blocks' dense layers as one group, which go together."""
    first = way.name == "equinox"
    leaves = trees.named_leaves(way.shapes)
    paths = dict.fromkeys(way.place(f"block{i}/fc")[0] for i in range(BLOCKS))
    members = [(k, 0 if first else leaves[k].ndim - 1, range(WIDTH)) for k in paths]
    return SimpleNamespace(size=WIDTH, members=members, roles=["produces"] * len(paths))


def _create(name: str, way: Way):
    described = pruning.describe(name)
    lengths = {k: max(round(STEPS * v), 1) for k, v in described.lengths.items()}
    options = {"sparsity": 0.5} if "sparsity" in described.options else {}
    options |= lengths | ({"interval": 2} if "interval" in lengths else {})
    if name in ("sr_ste", "threshold"):
        options.pop("sparsity")
    options |= OPTIONS.get(name, {})
    options |= {"groups": {"fc": _outputs(way)}} if name == "chase" else {}
    if name in GIVEN:
        mask = trees.named_leaves(way.put(_first(), 0))
        options["mask"] = trees.map_named(
            lambda path, _: mask[path] > 0 if path in way.pruned() else None, way.shapes
        )
    return pruning.create(name, optax.sgd(0.1), kernels=way.kernels, **options)


@functools.cache
def _run(name: str, way_name: str) -> tuple[list[tuple[Any, Any]], Any]:
    """The mask and the network's weights after every step, and the last state."""
    way = way_of(way_name)
    tx = _create(name, way)
    params = way.put(WEIGHTS, 1.0)
    state = tx.init(params)
    found = [(pruning.get_mask(state), pruning.sparse_params(params, state))]
    for gradients in GRADIENTS:
        moves, state = tx.update(way.put(gradients, 0.0), state, params)
        params = optax.apply_updates(params, moves)
        found.append((pruning.get_mask(state), pruning.sparse_params(params, state)))
    return found, state


def _assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for layer in expected:
        np.testing.assert_array_equal(found[layer], expected[layer], err_msg=layer)


@pytest.mark.slow
@pytest.mark.parametrize("name", pruning.names())
def test_every_method_makes_the_same_masks(name, way):
    with jax.disable_jit():
        found, _ = _run(name, way.name)
        expected, _ = _run(name, "plain")
    plain = way_of("plain")
    pruned = 0
    for (mask, seen), (one, weights) in zip(found, expected, strict=True):
        assert set(trees.named_leaves(mask)) == way.pruned()
        counts = {k: int(m.sum()) for k, m in way.get(mask).items()}
        assert counts == {k: int(m.sum()) for k, m in plain.get(one).items()}
        if name not in DRAWN:
            _assert_same(way.get(mask), plain.get(one))
            for layer, w in plain.get(weights).items():
                np.testing.assert_allclose(
                    way.get(seen)[layer], w, rtol=1e-5, atol=1e-6, err_msg=layer
                )
        pruned += sum(int((~m).sum()) for m in plain.get(one).values())
    assert pruned > 0
    if name not in DRAWN:
        states = (_run(name, way.name)[1], _run(name, "plain")[1])
        assert _statistics(states[0]) == _statistics(states[1])


def _statistics(state: Any) -> list[tuple[float, ...]]:
    """The numbers of every layer, whatever its name."""
    found = pruning.statistics(state).values()
    return sorted(tuple(float(layer[k]) for k in sorted(layer)) for layer in found)


@pytest.mark.slow
def test_layers_are_named_after_their_leaf(way):
    state = pruning.apply_mask(
        masks.magnitude(way.put(WEIGHTS, 1.0), 0.5, kernels=way.kernels),
        kernels=way.kernels,
    ).init(way.put(WEIGHTS, 1.0))
    found = pruning.statistics(state)
    assert len(found) == len(LAYERS)
    for layer in LAYERS:
        path, i = way.place(layer)
        name = path if i is None else f"{path}/{i}"
        assert found[name]["weights"] == WEIGHTS[layer].size


@pytest.mark.slow
@pytest.mark.parametrize(
    "prune",
    [
        functools.partial(masks.magnitude, sparsity=0.6),
        functools.partial(masks.magnitude, sparsity=0.5, scope="layer"),
        functools.partial(masks.magnitude, sparsity=ERK, scope="erk"),
        functools.partial(masks.magnitude, sparsity=0.6, layer_floor=0.3),
        functools.partial(masks.threshold, t=0.7),
    ],
    ids=["global", "layer", "erk", "floor", "threshold"],
)
def test_masks_are_the_same(prune, way):
    plain = way_of("plain")
    found = prune(way.put(WEIGHTS, 0.01), kernels=way.kernels)
    assert set(trees.named_leaves(found)) == way.pruned()
    _assert_same(way.get(found), plain.get(prune(plain.put(WEIGHTS, 0.01))))


def _product(params: Any, gradients: Any) -> jax.Array:
    """A loss of given gradients, whose second derivatives depend on the weights."""
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(gradients), strict=True)
    return sum(((jnp.sum(w * g) + jnp.sum(w**3)) for w, g in pairs), jnp.float32(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snip", "grasp", "synflow"])
def test_masks_at_init_are_the_same(name, way):
    options = {"rounds": 2} if name == "synflow" else {}
    prune = functools.partial(getattr(at_init, name), sparsity=0.6, **options)
    plain = way_of("plain")
    gradients = jax.tree.map(np.abs, GRADIENTS[0])
    found, expected = (
        one.get(prune(one.put(WEIGHTS, 1.0), _product, one.put(gradients, 0.5),
                      kernels=one.kernels))
        for one in (way, plain)
    )  # fmt: skip
    _assert_same(found, expected)


def test_groups_of_n_m_are_along_the_inputs(way):
    mask = pruning.get_mask(
        pruning.sr_ste(
            optax.sgd(0.1), structure=structures.n_m(2, 4), kernels=way.kernels
        ).init(way.put(WEIGHTS, 1.0))
    )
    for matrix in way.get(mask).values():
        groups = matrix.reshape(-1, 4, matrix.shape[-1])
        assert (groups.sum(1) == 2).all()


def test_every_neuron_has_one_fan_in(way):
    params = way.put(WEIGHTS, 1.0)
    layers, layout = masks.prunable_layers(params, kernels=way.kernels)
    size = scores.magnitude(layers)
    kept = updates.keep(size, 0.5, "uniform", structures.constant_fan_in())
    for matrix in way.get(masks.assemble(kept, layout, params)).values():
        assert (matrix.sum(0) == WIDTH // 2).all()


def test_wanda_scores_are_the_same(way):
    rng = np.random.default_rng(9)
    norms = {name: rng.uniform(1, 2, WIDTH).astype("f") for name in LAYERS}
    params = way.put(WEIGHTS, 1.0)
    prunable = masks.prunable(params, kernels=way.kernels)
    found = kernels.of(prunable, way.kernels)

    def of_leaf(path: str, leaf: Any) -> jax.Array:
        """The norms over the stack and input axes of a leaf."""
        kernel = found[path]
        layers = [k for k in LAYERS if way.place(k)[0] == path]
        shape = [leaf.shape[axis] for axis in kernel.stack + kernel.inputs]
        return jnp.stack([jnp.asarray(norms[k]) for k in layers]).reshape(shape)

    given = trees.map_named(of_leaf, prunable)
    score = scores.wanda(prunable, norms=given, kernels=way.kernels)
    for layer, matrix in way.get(score).items():
        expected = np.abs(WEIGHTS[layer]) * norms[layer][:, None]
        np.testing.assert_allclose(matrix, expected, rtol=1e-6)


@pytest.mark.slow
def test_parts_of_gap_are_layers(way):
    parts = [("attention", 0), ("fc|head", 1)]
    params = way.put(WEIGHTS, 1.0)
    mask = trees.map_named(
        lambda path, w: jnp.zeros(w.shape, bool) if path in way.pruned() else None,
        params,
    )
    copies, both = pruning.gap_copies(params, mask, parts, kernels=way.kernels)
    for part, names in enumerate(("attention", "fc head")):
        one = way.get(jax.tree.map(lambda m: m[part], both))  # noqa: B023
        for layer, matrix in one.items():
            dense = any(name in layer for name in names.split())
            assert matrix.all() == dense
            assert matrix.any() == dense
    copies = jax.tree.map(lambda w: w + jnp.arange(2.0).reshape(2, *[1] * (w.ndim - 1)),
                          copies)  # fmt: skip
    merged = pruning.gap_merge(copies, mask, parts, kernels=way.kernels)
    for layer, matrix in way.get(merged).items():
        np.testing.assert_allclose(
            matrix, WEIGHTS[layer] + ("attention" not in layer), rtol=1e-6
        )
    others = {k: w for k, w in trees.named_leaves(merged).items()
              if k not in way.pruned()}  # fmt: skip
    assert all((w == 1.5).all() for w in others.values())
    assert others


def _scanned(weights: np.ndarray, head: np.ndarray):
    """A stack of layers under `nn.scan` and a head, with kernels by use."""

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            class Layer(nn.Module):
                @nn.compact
                def __call__(self, x, _):
                    return x + nn.Dense(weights.shape[2])(x)[..., :32].sum(), None

            over = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            x, _ = nn.scan(Layer, length=len(weights), **over)(name="stack")(x, None)
            return nn.Dense(head.shape[1])(jnp.ones((1, head.shape[0])) * x.sum())

    params = {
        "stack": {"Dense_0": {"kernel": weights, "bias": jnp.zeros((6, 48))}},
        "Dense_0": {"kernel": head, "bias": jnp.zeros(10)},
    }
    call = kernels.by_use(lambda p, x: Stack().apply({"params": p}, x))
    return params, call(params, jnp.ones((1, 32)))


def test_a_stack_is_no_kernel_with_one_more_axis():
    """The numbers of six layers (32, 48) and a head (48, 10) at 90 %."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 32, 48)) * np.arange(1, 7)[:, None, None]
    params, by_use = _scanned(jnp.asarray(weights, jnp.float32), jnp.ones((48, 10)))
    state = pruning.random(optax.sgd(0.1), sparsity=0.9, kernels=by_use).init(params)
    mask = pruning.get_mask(state)
    assert int(mask["stack"]["Dense_0"]["kernel"].sum()) == 865
    assert int(mask["Dense_0"]["kernel"].sum()) == 105
    mask = masks.magnitude(params, 0.9, scope="layer", kernels=by_use)
    kept = mask["stack"]["Dense_0"]["kernel"].sum((1, 2))
    assert sorted(kept.tolist()) in (
        [153] * 2 + [154] * 4,
        [153] + [154] * 5,
        [154] * 6,
    )
    assert mask["stack"]["Dense_0"]["bias"] is None


@pytest.mark.parametrize("distribution", ["er", "erk"])
def test_heads_are_outputs(distribution):
    """The numbers of (32, 4, 8), which is (32, 32), and (64, 10) at 90 %."""

    class Heads(nn.Module):
        @nn.compact
        def __call__(self, x, y):
            return nn.DenseGeneral((4, 8))(x), nn.Dense(10)(y)

    model, x, y = Heads(), jnp.ones((1, 32)), jnp.ones((1, 64))
    params = model.init(KEY, x, y)["params"]
    by_use = kernels.by_use(lambda p, *xs: model.apply({"params": p}, *xs))(
        params, x, y
    )
    tx = pruning.random(
        optax.sgd(0.1), sparsity=0.9, distribution=distribution, kernels=by_use
    )
    mask = pruning.get_mask(tx.init(params))
    assert int(mask["DenseGeneral_0"]["kernel"].sum()) == 77
    assert mask["DenseGeneral_0"]["bias"] is None


def test_three_heads_have_groups_along_the_inputs():
    params = {"kernel": jax.random.normal(KEY, (8, 3, 5)), "bias": jnp.ones((3, 5))}
    by_use = kernels.by_use(
        lambda p, x: jnp.einsum("bi,ihd->bhd", x, p["kernel"]) + p["bias"][None]
    )(params, jnp.ones((2, 8)))
    tx = pruning.sr_ste(optax.sgd(0.1), structure=structures.n_m(2, 4), kernels=by_use)
    mask = pruning.get_mask(tx.init(params))
    assert (mask["kernel"].reshape(2, 4, 3, 5).sum(1) == 2).all()


def test_names_alone_find_the_kernels(way):
    """Names tell kernels from other leaves, if not what the axes mean."""
    found = masks.prunable(way.put(WEIGHTS, 1.0))
    assert set(trees.named_leaves(found)) == way.pruned()
    assert set(trees.named_leaves(masks.prunable(way.shapes))) == way.pruned()


def test_a_vision_transformer_keeps_its_token_and_positions():
    model = models.create("vit_tiny", num_classes=4, depth=2)
    x = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(model.init, KEY, x)["params"]
    found = set(trees.named_leaves(masks.prunable(params)))
    every = set(trees.named_leaves(params))
    assert found == {path for path in every if path.endswith("kernel")}
    assert any("cls" in path for path in every - found)
    assert any("pos" in path for path in every - found)
    by_use = kernels.by_use(lambda p, x: model.apply({"params": p}, x))(params, x)
    assert set(trees.named_leaves(masks.prunable(params, kernels=by_use))) == found
