"""The groups of functions in which axes are split, merged, shared and repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import channels
from tests.channels.conftest import Case, members, removes_as_it_masks, subsets

relu = jax.nn.relu


def conv(x, w, groups=1):
    return lax.conv_general_dilated(
        x,
        w,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def squeeze_excite(w, x):
    h = relu(conv(x, w["conv"]))
    s = jax.nn.sigmoid(relu(h.mean((1, 2)) @ w["down"]) @ w["up"])
    return (h * s[:, None, None]).mean((1, 2)) @ w["fc"]


def channel_shuffle(w, x):
    h = relu(conv(x, w["a"]))
    h = relu(conv(h, w["grouped"], groups=2))
    h = h.reshape(*h.shape[:3], 2, -1).swapaxes(3, 4).reshape(h.shape)
    h = relu(conv(h, w["next"], groups=2))
    return h.mean((1, 2)) @ w["fc"]


def glu_halves(w, x):
    a, b = jnp.split(x @ w["up"], 2, axis=-1)
    return (a * jax.nn.sigmoid(b)) @ w["down"]


def glu_pairs(w, x):
    h = (x @ w["up"]).reshape(x.shape[0], -1, 2)
    return (h[..., 0] * jax.nn.sigmoid(h[..., 1])) @ w["down"]


def glu_blocks(w, x):
    h = (x @ w["up"]).reshape(x.shape[0], 2, -1)
    return (h[:, 0] * jax.nn.sigmoid(h[:, 1])) @ w["down"]


def tied_autoencoder(w, x):
    return relu(x @ w["w"]) @ w["w"].T


def pixel_shuffle_torch(w, x):  # channel c * 4 + position
    h = relu(conv(x, w["up"]))
    n, a, b, c = h.shape
    h = h.reshape(n, a, b, c // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return conv(h.reshape(n, 2 * a, 2 * b, c // 4), w["out"])


def pixel_shuffle_tf(w, x):  # position * channels + c
    h = relu(conv(x, w["up"]))
    n, a, b, c = h.shape
    h = h.reshape(n, a, b, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
    return conv(h.reshape(n, 2 * a, 2 * b, c // 4), w["out"])


def decoder(w, x):
    h = relu(x @ w["fc"]).reshape(x.shape[0], 3, 3, -1)
    return conv(h, w["conv"])


def cropped_concatenation(w, x):
    a = relu(conv(x, w["a"]))
    b = relu(conv(a, w["b"]))
    both = jnp.concatenate([a[:, 1:-1, 1:-1], b[:, 1:-1, 1:-1]], -1)
    return conv(both, w["c"])


def gru(w, x):
    def step(h, x):
        z = jax.nn.sigmoid(x @ w["xz"] + h @ w["hz"])
        r = jax.nn.sigmoid(x @ w["xr"] + h @ w["hr"])
        new = jnp.tanh(x @ w["xn"] + (r * h) @ w["hn"])
        return (1 - z) * h + z * new, None

    h, _ = lax.scan(step, jnp.zeros((x.shape[1], w["hz"].shape[0])), x)
    return h @ w["out"]


def fused_attention(w, x):
    n, t, _ = x.shape
    q, k, v = jnp.moveaxis((x @ w["qkv"]).reshape(n, t, 3, 4, 5), 2, 0)
    scores = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", q, k) / 5**0.5)
    mixed = jnp.einsum("nhqk,nkhd->nqhd", scores, v)
    return mixed.reshape(n, t, -1) @ w["out"]


def grouped_queries(w, x):
    n, t, _ = x.shape
    q = (x @ w["q"]).reshape(n, t, 2, 3, 5)
    k = jnp.repeat((x @ w["k"]).reshape(n, t, 2, 5), 3, axis=2)
    v = jnp.repeat((x @ w["v"]).reshape(n, t, 2, 5), 3, axis=2)
    q = q.reshape(n, t, 6, 5)
    scores = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", q, k))
    mixed = jnp.einsum("nhqk,nkhd->nqhd", scores, v)
    return mixed.reshape(n, t, -1) @ w["out"]


def two_outputs(w, x):
    h = relu(x @ w["a"])
    return relu(h @ w["b"]), h @ w["c"]


def one_channel_mask(w, x):
    h = relu(conv(x, w["a"]))
    return conv(h * jax.nn.sigmoid(conv(h, w["mask"])), w["b"])


def positions(w, x):
    h = x @ w["embed"] + w["position"][:, : x.shape[1]]
    return relu(h @ w["up"]) @ w["down"]


def layer_norm(w, x):
    h = x @ w["a"]
    h = (h - h.mean(-1, keepdims=True)) * lax.rsqrt(h.var(-1, keepdims=True) + 1e-5)
    return (h * w["scale"][None] + w["bias"][None]) @ w["b"]


def rms_norm(w, x):
    h = x @ w["a"]
    h = h * lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-5)
    return (h * w["scale"][None]) @ w["b"]


def group_norm(w, x):
    h = conv(x, w["a"])
    g = h.reshape(*h.shape[:3], 3, 4)
    mean = g.mean((1, 2, 4), keepdims=True)
    square = jnp.square(g).mean((1, 2, 4), keepdims=True)
    g = (g - mean) * lax.rsqrt(square - jnp.square(mean) + 1e-5)
    return conv(g.reshape(h.shape) * w["scale"].reshape(1, 1, 1, -1), w["b"])


def literal_slices(w, x):
    h = relu(x @ w["a"])
    return h[:, :3] @ w["b"] + h[:, 3:6] @ w["c"]


def depthwise(w, x):
    h = relu(conv(x, w["a"]))
    h = relu(conv(h, w["depth"], groups=6))
    return conv(h, w["b"])


def reversed_channels(w, x):
    return relu(x @ w["a"])[:, ::-1] @ w["b"]


ATTENTION = {"qkv": (7, 60), "out": (20, 7)}
NORM = {"a": (7, 8), "scale": (8,), "bias": (8,), "b": (8, 3)}
GROUP_NORM = {"a": (3, 3, 2, 12), "scale": (12,), "b": (3, 3, 12, 3)}
CASES = {
    "squeeze_excite": Case(
        squeeze_excite,
        {"conv": (3, 3, 2, 6), "down": (6, 4), "up": (4, 6), "fc": (6, 3)},
        (2, 5, 5, 2),
        [(6, {"conv:3", "down:0", "up:1", "fc:0"}), (4, {"down:1", "up:0"})],
    ),
    "channel_shuffle": Case(
        channel_shuffle,
        {
            "a": (1, 1, 2, 8),
            "grouped": (3, 3, 4, 12),
            "next": (1, 1, 6, 4),
            "fc": (4, 3),
        },
        (2, 4, 4, 2),
        [
            (4, {"a:3", "grouped:2"}),
            (3, {"grouped:3", "next:2"}),  # i with i + 3, in both groups
            (2, {"next:3", "fc:0"}),
        ],
    ),
    "glu_halves": Case(
        glu_halves, {"up": (5, 16), "down": (8, 3)}, (2, 5), [(8, {"up:1", "down:0"})]
    ),
    "glu_pairs": Case(
        glu_pairs, {"up": (5, 16), "down": (8, 3)}, (2, 5), [(8, {"up:1", "down:0"})]
    ),
    "glu_blocks": Case(
        glu_blocks, {"up": (5, 16), "down": (8, 3)}, (2, 5), [(8, {"up:1", "down:0"})]
    ),
    "tied_autoencoder": Case(tied_autoencoder, {"w": (5, 8)}, (2, 5), [(8, {"w:1"})]),
    "pixel_shuffle_torch": Case(
        pixel_shuffle_torch,
        {"up": (3, 3, 2, 20), "out": (3, 3, 5, 2)},
        (2, 4, 4, 2),
        [(5, {"up:3", "out:2"})],
    ),
    "pixel_shuffle_tf": Case(
        pixel_shuffle_tf,
        {"up": (3, 3, 2, 20), "out": (3, 3, 5, 2)},
        (2, 4, 4, 2),
        [(5, {"up:3", "out:2"})],
    ),
    "decoder": Case(
        decoder,
        {"fc": (5, 36), "conv": (3, 3, 4, 2)},
        (2, 5),
        [(4, {"fc:1", "conv:2"})],
    ),
    "cropped_concatenation": Case(
        cropped_concatenation,
        {"a": (3, 3, 2, 4), "b": (3, 3, 4, 5), "c": (3, 3, 9, 2)},
        (2, 6, 6, 2),
        [(4, {"a:3", "b:2", "c:2"}), (5, {"b:3", "c:2"})],
    ),
    "gru": Case(
        gru,
        {f"x{g}": (3, 6) for g in "zrn"}
        | {f"h{g}": (6, 6) for g in "zrn"}
        | {"out": (6, 2)},
        (4, 2, 3),
        [
            (
                6,
                {f"{a}{g}:1" for a in "xh" for g in "zrn"}
                | {f"h{g}:0" for g in "zrn"}
                | {"out:0"},
            )
        ],
    ),
    "heads": Case(fused_attention, ATTENTION, (2, 3, 7), [(4, {"qkv:1", "out:0"})]),
    "dims": Case(
        fused_attention,
        ATTENTION,
        (2, 3, 7),
        [(5, {"qkv:1"}), (5, {"qkv:1", "out:0"})],
        split="inner",
    ),
    "grouped_queries": Case(
        grouped_queries,
        {"q": (7, 30), "k": (7, 10), "v": (7, 10), "out": (30, 7)},
        (2, 3, 7),
        [(2, {"q:1", "k:1", "v:1", "out:0"})],
    ),
    "two_outputs": Case(
        two_outputs,
        {"a": (5, 8), "b": (8, 4), "c": (8, 3)},
        (2, 5),
        [(8, {"a:1", "b:0", "c:0"})],
    ),
    "one_channel_mask": Case(
        one_channel_mask,
        {"a": (3, 3, 2, 6), "mask": (1, 1, 6, 1), "b": (3, 3, 6, 2)},
        (2, 4, 4, 2),
        [(6, {"a:3", "mask:2", "b:2"})],
    ),
    "positions": Case(
        positions,
        {"embed": (3, 6), "position": (1, 9, 6), "up": (6, 8), "down": (8, 2)},
        (2, 4, 3),
        [(6, {"embed:1", "position:2", "up:0"}), (8, {"up:1", "down:0"})],
    ),
    "layer_norm": Case(
        layer_norm,
        NORM,
        (2, 7),
        [(8, {"a:1", "scale:0", "bias:0", "b:0"})],
        exact=False,
    ),
    "rms_norm": Case(
        rms_norm,
        {k: v for k, v in NORM.items() if k != "bias"},
        (2, 7),
        [(8, {"a:1", "scale:0", "b:0"})],
    ),
    "group_norm": Case(
        group_norm, GROUP_NORM, (2, 4, 4, 2), [(3, {"a:3", "scale:0", "b:2"})]
    ),
    "group_norm_positions": Case(
        group_norm,
        GROUP_NORM,
        (2, 4, 4, 2),
        [(4, {"a:3", "scale:0", "b:2"})],
        split="inner",
    ),
    "literal_slices": Case(
        literal_slices,
        {"a": (5, 8), "b": (3, 2), "c": (3, 2)},
        (2, 5),
        [(3, {"a:1", "b:0"}), (3, {"a:1", "c:0"})],
    ),
    "depthwise": Case(
        depthwise,
        {"a": (1, 1, 2, 6), "depth": (3, 3, 1, 12), "b": (1, 1, 12, 2)},
        (2, 4, 4, 2),
        [(6, {"a:3", "depth:3", "b:2"})],
    ),
    "reversed_channels": Case(
        reversed_channels,
        {"a": (5, 8), "b": (8, 2)},
        (2, 5),
        [(8, {"a:1", "b:0"})],
    ),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES), scope="module")
def case(request):
    return request.param


@pytest.fixture(scope="module")
def found(case):
    fn = channels.groups(case.fn, split=case.split)
    return fn(case.weights(), case.input())


def test_the_groups_are_the_stated_ones(case, found):
    stated = sorted((size, sorted(names)) for size, names in case.groups)
    own = [(group.size, sorted(members(group))) for group in found.values()]
    assert sorted(own) == stated, found.explain()


def test_a_group_says_whether_it_is_exact(case, found):
    assert all(group.exact == case.exact for group in found.values())


@pytest.mark.slow
def test_removed_or_zeroed_outputs_are_equal(case, found):
    if not case.exact:
        pytest.skip("removal changes the values of this normalisation")
    keep = subsets(found, 0)
    own = removes_as_it_masks(case.fn, case.weights(), case.input(), found, keep)
    for small, masked in zip(*map(jax.tree.leaves, own), strict=True):
        np.testing.assert_allclose(small, masked, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("power", "exact"), [(2, True), (-2, False)])
def test_a_sum_over_powers_is_exact_where_they_are_zero(power, exact):
    def fn(w, x):
        return ((x @ w["a"]) ** power).sum()

    groups = channels.groups(fn)({"a": jnp.ones((3, 4))}, jnp.ones((2, 3)))
    assert [group.exact for group in groups.values()] == [exact]
