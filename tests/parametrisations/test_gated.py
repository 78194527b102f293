"""Gates on weights make the network that gates between BatchNorm and ReLU make."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax.parametrisations import State, fence_sitters, gated


def _conv(x, weights, *, stride=1, groups=1):
    return lax.conv_general_dilated(
        x,
        weights["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _norm(x, weights):
    mean, var = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
    scale, bias = (weights[k].reshape(1, 1, 1, -1) for k in ("scale", "bias"))
    return (x - mean) * lax.rsqrt(var + 1e-5) * scale + bias


def _pool(x):
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def _dense(x, weights):
    return x @ weights["kernel"] + weights["bias"][None]


# Every network is called with `gate(group, y)`, which stands where the paper's does.
def _plain(w, x, gate):
    x = jax.nn.relu(gate("a", _norm(_conv(x, w["conv1"]), w["bn1"])))
    x = jax.nn.relu(gate("b", _norm(_conv(_pool(x), w["conv2"]), w["bn2"])))
    return _dense(x.mean((1, 2)), w["fc"])


def _flat(w, x, gate):
    bias = w["conv1"]["bias"].reshape(1, 1, 1, -1)
    x = _pool(jax.nn.relu(gate("a", _conv(x, w["conv1"]) + bias)))
    return _dense(x.reshape(len(x), -1), w["fc"])


def _residual(w, x, gate):
    x = jax.nn.relu(gate("stream", _norm(_conv(x, w["conv1"]), w["bn1"])))
    for block in ("block1", "block2"):
        y = jax.nn.relu(
            gate(block, _norm(_conv(x, w[block]["conv1"]), w[block]["bn1"]))
        )
        y = gate("stream", _norm(_conv(y, w[block]["conv2"]), w[block]["bn2"]))
        x = jax.nn.relu(x + y)
    y = gate(
        "next", _norm(_conv(x, w["block3"]["conv1"], stride=2), w["block3"]["bn1"])
    )
    shortcut = _norm(_conv(x, w["down"], stride=2), w["bn"])
    return _dense(jax.nn.relu(y + gate("next", shortcut)).mean((1, 2)), w["fc"])


def _depthwise(w, x, gate):
    x = jax.nn.relu(_norm(_conv(x, w["conv1"]), w["bn1"]))
    x = _norm(_conv(x, w["depthwise"], groups=4), w["bn2"])
    return _dense(jax.nn.relu(gate("a", x)).mean((1, 2)), w["fc"])


def _concatenated(w, x, gate):
    x = jax.nn.relu(gate("a", _norm(_conv(x, w["conv1"]), w["bn1"])))
    y = jax.nn.relu(gate("b", _norm(_conv(x, w["conv2"]), w["bn2"])))
    x = _norm(_conv(jnp.concatenate([x, y], -1), w["conv3"]), w["bn3"])
    return _dense(jax.nn.relu(gate("c", x)).mean((1, 2)), w["fc"])


def _dense_block(w, x, gate):
    """BatchNorm comes first: a channel's gate is behind the BatchNorm that reads it."""
    x = _conv(x, w["conv1"])
    y = _conv(jax.nn.relu(gate("a", _norm(x, w["bn1"]))), w["conv2"])
    y = _norm(jnp.concatenate([x, y], -1), w["bn2"])
    y = jnp.concatenate([gate("a", y[..., :4]), gate("b", y[..., 4:])], -1)
    return _dense(jax.nn.relu(y).mean((1, 2)), w["fc"])


def _bn(size):
    return {"scale": (size,), "bias": (size,)}


def _kernel(*shape):
    return {"kernel": shape}


def _fc(inputs):
    return {"kernel": (inputs, 3), "bias": (3,)}


FOUR, SIX = tuple(range(4)), tuple(range(6))
NONE = (-1,)


def _made(size, *paths):
    """The members of a group that make its channels: convolutions, then BatchNorms."""
    units = tuple(range(size))
    for conv, bn in paths:
        yield f"params/{conv}/kernel", 3, units, "produces"
        yield f"params/{bn}/scale", 0, units, "scales"
        yield f"params/{bn}/bias", 0, units, "shifts"
        yield f"batch_stats/{bn}/mean", 0, units, "statistic"


def _group(size, members, *reads):
    members = [
        *members,
        *((f"params/{path}/kernel", *at, "reads") for path, *at in reads),
    ]
    return SimpleNamespace(
        size=size, members=[m[:3] for m in members], roles=[m[3] for m in members]
    )


BLOCK = {
    "conv1": _kernel(3, 3, 4, 6),
    "bn1": _bn(6),
    "conv2": _kernel(3, 3, 6, 4),
    "bn2": _bn(4),
}
NETWORKS = {
    "plain": (
        _plain,
        {
            "conv1": _kernel(3, 3, 2, 4),
            "bn1": _bn(4),
            "conv2": _kernel(3, 3, 4, 6),
            "bn2": _bn(6),
            "fc": _fc(6),
        },
        {
            "a": _group(4, _made(4, ("conv1", "bn1")), ("conv2", 2, FOUR)),
            "b": _group(6, _made(6, ("conv2", "bn2")), ("fc", 0, SIX)),
        },
    ),
    "flat": (
        _flat,
        {"conv1": {"kernel": (3, 3, 2, 4), "bias": (4,)}, "fc": _fc(4 * 4 * 4)},
        {
            "a": _group(
                4,
                [
                    ("params/conv1/kernel", 3, FOUR, "produces"),
                    ("params/conv1/bias", 0, FOUR, "shifts"),
                ],
                ("fc", 0, FOUR * 16),
            ),
        },
    ),
    "residual": (
        _residual,
        {
            "conv1": _kernel(3, 3, 2, 4),
            "bn1": _bn(4),
            "block1": BLOCK,
            "block2": BLOCK,
            "block3": {"conv1": _kernel(3, 3, 4, 6), "bn1": _bn(6)},
            "down": _kernel(1, 1, 4, 6),
            "bn": _bn(6),
            "fc": _fc(6),
        },
        {
            "stream": _group(
                4,
                _made(
                    4,
                    ("conv1", "bn1"),
                    ("block1/conv2", "block1/bn2"),
                    ("block2/conv2", "block2/bn2"),
                ),
                ("block1/conv1", 2, FOUR),
                ("block2/conv1", 2, FOUR),
                ("block3/conv1", 2, FOUR),
                ("down", 2, FOUR),
            ),
            **{
                block: _group(
                    6,
                    _made(6, (f"{block}/conv1", f"{block}/bn1")),
                    (f"{block}/conv2", 2, SIX),
                )
                for block in ("block1", "block2")
            },
            "next": _group(
                6,
                _made(6, ("block3/conv1", "block3/bn1"), ("down", "bn")),
                ("fc", 0, SIX),
            ),
        },
    ),
    "depthwise": (
        _depthwise,
        {
            "conv1": _kernel(3, 3, 2, 4),
            "bn1": _bn(4),
            "depthwise": _kernel(3, 3, 1, 4),
            "bn2": _bn(4),
            "fc": _fc(4),
        },
        {
            "a": _group(
                4,
                _made(4, ("conv1", "bn1"), ("depthwise", "bn2")),
                ("fc", 0, FOUR),
            )
        },
    ),
    "concatenated": (
        _concatenated,
        {
            "conv1": _kernel(3, 3, 2, 4),
            "bn1": _bn(4),
            "conv2": _kernel(3, 3, 4, 6),
            "bn2": _bn(6),
            "conv3": _kernel(3, 3, 10, 4),
            "bn3": _bn(4),
            "fc": _fc(4),
        },
        {
            "a": _group(
                4,
                _made(4, ("conv1", "bn1")),
                ("conv2", 2, FOUR),
                ("conv3", 2, FOUR + 6 * NONE),
            ),
            "b": _group(6, _made(6, ("conv2", "bn2")), ("conv3", 2, 4 * NONE + SIX)),
            "c": _group(4, _made(4, ("conv3", "bn3")), ("fc", 0, FOUR)),
        },
    ),
    "dense block": (
        _dense_block,
        {
            "conv1": _kernel(3, 3, 2, 4),
            "bn1": _bn(4),
            "conv2": _kernel(3, 3, 4, 6),
            "bn2": _bn(10),
            "fc": _fc(10),
        },
        {
            "a": _group(
                4,
                [("params/conv1/kernel", 3, FOUR, "produces")],
                ("conv2", 2, FOUR),
                ("fc", 0, FOUR + 6 * NONE),
            ),
            "b": _group(
                6,
                [("params/conv2/kernel", 3, SIX, "produces")],
                ("fc", 0, 4 * NONE + SIX),
            ),
        },
    ),
}


def _random(shapes, seed=0):
    draw = np.random.default_rng(seed).standard_normal
    return jax.tree.map(
        lambda shape: jnp.asarray(draw(shape), jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


@pytest.mark.slow
@pytest.mark.parametrize("prevent_collapse", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_one_with_gates_before_its_activations(
    name, prevent_collapse
):
    network, shapes, groups = NETWORKS[name]
    x = _random((5, 8, 8, 2), seed=1)
    p = gated(groups, prevent_collapse=prevent_collapse)
    trained = p.init(_random(shapes))
    assert {k: s.tolist() for k, s in trained["gates"].items()} == {
        k: [1.0] * group.size for k, group in groups.items()
    }
    trained["gates"] = _random({k: (g.size,) for k, g in groups.items()})

    def loss_of_weights(trained):
        y = network(p(trained, ()), x, lambda group, y: y)
        return jnp.sum(jnp.sin(y)), y

    def loss_of_gates(trained):
        def gate(group, y):
            g = jax.nn.sigmoid(5 * trained["gates"][group])
            g = g / g.max() if prevent_collapse else g
            return g.reshape(1, 1, 1, -1) * y

        y = network(trained["weights"], x, gate)
        return jnp.sum(jnp.sin(y)), y

    grads, found = jax.grad(loss_of_weights, has_aux=True)(trained)
    expected_grads, expected = jax.grad(loss_of_gates, has_aux=True)(trained)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        grads,
        expected_grads,
    )


# k = 5, sigma = 1 (specification of the authors' code).
VECTORS = [
    (-1.0, 0.00669, 0.7788),
    (-0.5, 0.07586, 0.93941),
    (0.0, 0.5, 1.0),
    (0.25, 0.7773, 0.9845),
    (0.5, 0.92414, 0.93941),
    (1.0, 0.99331, 0.7788),
]
READS = SimpleNamespace(size=6, members=[("w", 0, range(6))], roles=["reads"])
OTHER = SimpleNamespace(size=2, members=[("v", 1, (1, 0))], roles=["reads"])
WEIGHTS = {"w": jnp.ones(6), "v": jnp.ones((3, 2))}


def _with(p, s):
    trained = p.init(WEIGHTS)
    gates = {**trained["gates"], "a": jnp.asarray(s, jnp.float32)}
    return {**trained, "gates": gates}


@pytest.mark.parametrize(("s", "g", "q"), VECTORS)
def test_values_of_a_gate(s, g, q):
    p = gated({"a": READS})
    trained = _with(p, [s] * 6)
    assert p.gates(trained)["a"] == pytest.approx(g, abs=5e-6)
    assert p(trained, ())["w"] == pytest.approx(g, abs=5e-6)
    assert fence_sitters({"a": jnp.array([s])}) == pytest.approx(q, abs=5e-6)
    assert fence_sitters(trained["gates"]) == pytest.approx(q, abs=5e-6)
    assert p.fence_sitters({"a": jnp.array([2 * s])}, sigma=2**0.5) == pytest.approx(
        q, abs=5e-6
    )


def test_fence_sitters_is_the_norm_over_all_groups():
    s = np.array([s for s, _, _ in VECTORS])
    q = np.array([q for _, _, q in VECTORS])
    found = fence_sitters({"a": jnp.array(s[:2]), "b": jnp.array(s[2:])})
    assert found == pytest.approx(np.sqrt((q**2).mean()), abs=1e-5)
    half = fence_sitters({"a": jnp.array(s, jnp.bfloat16)})
    assert half.dtype == jnp.float32
    assert half == pytest.approx(float(found), abs=1e-4)
    assert fence_sitters(jnp.array(s)) == pytest.approx(float(found), abs=1e-6)


@pytest.mark.slow
def test_fence_sitters_pushes_gates_away_from_zero_and_has_finite_gradients():
    grad = jax.grad(lambda s: fence_sitters({"a": s}))
    away = grad(jnp.array([-0.5, 0.0, 0.5]))
    assert away[0] > 0
    assert away[1] == 0
    assert away[2] < 0
    assert grad(jnp.array([1e3, -1e30])).tolist() == [0, 0]
    assert fence_sitters({"a": jnp.array([1e3, -1e30])}) == 0
    assert np.isfinite(
        jax.grad(lambda s: fence_sitters({"a": jnp.ones(1)}, sigma=s))(1.0)
    )


def test_the_sharpness_may_be_a_schedule_or_a_scheduled_value():
    s = np.linspace(-1, 1, 6)
    expected = {k: 1 / (1 + np.exp(-k * s)) for k in (5, 30)}

    def values(p, state):
        return np.asarray(p.gates(_with(p, s), state)["a"])

    by_step = gated({"a": READS}, sharpness=lambda step: 5 + 25 * step)
    for step, k in enumerate((5, 30)):
        found = values(by_step, State(step=step))
        np.testing.assert_allclose(found, expected[k], rtol=1e-6)
    number = gated({"a": READS}, sharpness=5.0)
    for state in ((), State(), State(scheduled={"other": 30.0})):
        np.testing.assert_allclose(values(number, state), expected[5], rtol=1e-6)
    for p in (number, by_step):
        found = values(p, State(scheduled={"sharpness": jnp.float32(30)}))
        np.testing.assert_allclose(found, expected[30], rtol=1e-6)
        kept = p.collapse(
            _with(p, s), threshold=0.01, state=State(scheduled={"sharpness": 30.0})
        )
        np.testing.assert_array_equal(kept["a"], expected[30] > 0.01)


def test_one_program_serves_all_values_of_the_sharpness():
    p = gated({"a": READS})
    trained = _with(p, np.linspace(-1, 1, 6))

    @jax.jit
    def weights(trained, sharpness):
        return p(trained, State(scheduled={"sharpness": sharpness}))["w"]

    jax.vmap(weights, (None, 0))(trained, jnp.array([5.0, 30.0]))
    steps = [weights(trained, jnp.float32(k)) for k in (5, 10, 30)]
    assert weights._cache_size() == 1
    assert np.all(np.diff([w[0] for w in steps]) < 0)


@pytest.mark.parametrize("lowest", [-1.0, -1e3])
def test_with_prevent_collapse_the_largest_gate_is_one(lowest):
    s = lowest - np.array([2, 1, 0, 1, 3, 5]) / 5
    groups = {"a": READS, "b": OTHER}
    for prevent in (True, ["a"]):
        p = gated(groups, prevent_collapse=prevent)
        values = p.gates(_with(p, s))
        assert values["a"][2] == 1
        largest = values["b"].max()
        assert largest == (1 if prevent is True else pytest.approx(0.99331, abs=5e-6))
        assert p.collapse(_with(p, s), threshold=0.99)["a"].sum() == 1
        grads = jax.grad(lambda t, p=p: p(t, ())["w"].sum())(_with(p, s))
        assert np.isfinite(grads["gates"]["a"]).all()
        assert (grads["gates"]["a"] != 0).any()
    off = gated(groups)
    assert not off.collapse(_with(off, s), threshold=0.05)["a"].any()
    assert np.isfinite(off.gates(_with(off, s))["a"]).all()


@pytest.mark.parametrize(
    ("threshold", "s"),
    [
        (0.01, -0.919),
        (0.02, -0.778),
        (0.03, -0.695),
        (0.05, -0.589),
        (0.1, -0.439),
        (0.2, -0.277),
        (0.25, -0.220),
    ],
)
def test_channels_above_the_threshold_are_kept(threshold, s):
    p = gated({"a": READS, "b": OTHER})
    trained = _with(p, s + np.array([-1, -0.01, -0.001, 0.001, 0.01, 1]))
    keep = p.collapse(trained, threshold=threshold)
    assert keep["a"].tolist() == [False] * 3 + [True] * 3
    assert keep["b"].tolist() == [True, True]
    assert keep["a"].dtype == bool


def test_positions_of_another_group_are_not_gated():
    group = SimpleNamespace(
        size=2, members=[("w", 0, (1, -1, 0, 1, -1, 0))], roles=["reads"]
    )
    p = gated({"a": group})
    trained = p.init({"w": jnp.ones(6)})
    trained["gates"]["a"] = jnp.array([-1.0, 0.0])
    low = jax.nn.sigmoid(-5.0)
    np.testing.assert_allclose(
        p(trained, ())["w"], [0.5, 1, low, 0.5, 1, low], rtol=1e-6
    )


def test_a_group_that_nothing_reads_is_gated_where_it_is_made():
    made = list(_made(4, ("conv", "bn")))
    weights = {"conv": {"kernel": jnp.ones((1, 1, 2, 4))}, "bn": {"scale": jnp.ones(4)}}
    weights["bn"]["bias"] = jnp.ones(4)
    half = jnp.zeros(4)
    p = gated({"a": _group(4, made)})
    gated_weights = p({**p.init(weights), "gates": {"a": half}}, ())
    assert gated_weights["bn"]["scale"].tolist() == [0.5] * 4
    assert gated_weights["bn"]["bias"].tolist() == [0.5] * 4
    assert (gated_weights["conv"]["kernel"] == 1).all()
    p = gated({"a": _group(4, [made[0]])})
    gated_weights = p({**p.init(weights), "gates": {"a": half}}, ())
    assert (gated_weights["conv"]["kernel"] == 0.5).all()
    assert gated_weights["bn"]["scale"].tolist() == [1] * 4


@pytest.mark.parametrize("traced", ["", "params/"])
@pytest.mark.parametrize("collection", [None, "params", "weights"])
def test_a_leading_collection_is_ignored(traced, collection):
    group = SimpleNamespace(
        size=2, members=[(f"{traced}fc/w", 0, (0, 1))], roles=["reads"]
    )
    p = gated({"a": group})
    weights = {"fc": {"w": jnp.ones(2)}}
    trained = p.init({collection: weights} if collection else weights)
    trained["gates"]["a"] = jnp.zeros(2)
    found = p.finish(trained, ())
    found = found[collection] if collection else found
    assert found["fc"]["w"].tolist() == [0.5, 0.5]


def test_a_gate_does_not_change_the_dtype_and_rounds_once():
    p = gated({"a": READS, "b": SimpleNamespace(**vars(READS))})
    w = jnp.linspace(0.1, 3, 6).astype(jnp.bfloat16)
    trained = p.init({"w": w})
    s = {"a": jnp.linspace(-1, 1, 6), "b": jnp.linspace(1, -1, 6)}
    found = p({**trained, "gates": s}, ())["w"]
    g = jax.nn.sigmoid(5 * s["a"]) * jax.nn.sigmoid(5 * s["b"])
    expected = (w.astype(jnp.float32) * g).astype(jnp.bfloat16)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found, expected, rtol=2**-8)


def test_equal_gatings_are_equal_and_hash_alike():
    again = SimpleNamespace(
        size=6, members=[("w", 0, list(range(6)))], roles=("reads",)
    )
    assert gated({"a": READS}) == gated({"a": again})
    assert hash(gated({"a": READS})) == hash(gated({"a": again}))
    assert gated({"a": READS}) != gated({"a": READS}, sharpness=6.0)


def _changed(**changes):
    return {"a": SimpleNamespace(**{**vars(READS), **changes})}


def test_what_does_not_fit_is_refused():
    refused = {
        "groups must hold one group at least": lambda: gated({}),
        "sharpness must be > 0 and finite, got 0": lambda: gated(
            {"a": READS}, sharpness=0
        ),
        "prevent_collapse must be one of .*'a'.*, got 'c'": lambda: gated(
            {"a": READS}, prevent_collapse=["c"]
        ),
        "group a must have one role per member, got 1 members and 2": lambda: gated(
            _changed(roles=["reads", "reads"])
        ),
        "group a must have a member that reads, .* got .*statistic": lambda: gated(
            _changed(roles=["statistic"])
        ),
        r"group a must have units in -1\.\.2, got \[0, 1, 2, 3, 4, 5\] at w": lambda: (
            gated(_changed(size=3))
        ),
        "a member of group a must be one of .*'w'.*, got 'x'": lambda: gated(
            _changed(members=[("x", 0, range(6))])
        ).init(WEIGHTS),
        r"group a has 6 positions on axis 1 of w, whose shape is \(6,\)": (
            lambda: gated(_changed(members=[("w", 1, range(6))])).init(WEIGHTS)
        ),
        r"group a has 5 positions on axis 0 of w, whose shape is \(6,\)": (
            lambda: gated(_changed(members=[("w", 0, range(5))])).init(WEIGHTS)
        ),
        "sigma must be > 0 and finite, got 0": lambda: fence_sitters(
            {"a": jnp.ones(2)}, sigma=0
        ),
        "gates must hold a gate": lambda: fence_sitters({}),
        r"threshold must be in \[0, 1\], got 2": lambda: gated({"a": READS}).collapse(
            gated({"a": READS}).init(WEIGHTS), threshold=2
        ),
    }
    for message, call in refused.items():
        with pytest.raises(ValueError, match=message):
            call()
