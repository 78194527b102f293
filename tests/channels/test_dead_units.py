"""Units that are constants are folded into what is added behind them, exactly."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import channels, pruning
from tests.channels.test_branches import residual
from tests.channels.test_partitions import conv, relu

KEY = jax.random.key(0)


def plain(w, x):
    h = relu(x @ w["a"] + w["bias_a"][None])
    h = relu(h @ w["b"] + w["bias_b"][None])
    return h @ w["c"] + w["bias_c"][None]


def bare(w, x):
    return relu(relu(x @ w["a"] + w["bias_a"][None]) @ w["b"]) @ w["c"]


def shared(w, x):
    h = relu(x @ w["a"] + w["bias_a"][None]) @ w["b"] + w["bias_b"][None]
    return relu(h) @ w["c"] * w["bias_b"].sum()


def late(w, x):
    """The sum lacks a constant that later biases take over, one on either side."""
    h = relu(x @ w["a"] + w["bias_a"][None])
    h = -2.0 * (h @ w["b"] + x @ w["skip"])
    return relu(w["bias_b"][None] - h) @ w["c"]


def padded(w, x):
    image = jnp.broadcast_to(x[:, None, None], (len(x), 3, 3, 4))
    h = relu(conv(image, w["a"][None, None]) + w["bias_a"][None, None, None])
    h = relu(conv(h, w["window"]) + w["bias_b"][None, None, None])
    return h.mean((1, 2)) @ w["c"]


def widest(w, x):
    h = relu(x @ w["a"] + w["bias_a"][None])
    return (h @ w["b"] + w["bias_b"][None]) / h.max(1, keepdims=True)


SHAPES = {"a": (4, 6), "bias_a": (6,), "b": (6, 5), "bias_b": (5,), "c": (5, 3)}
SHAPES |= {"bias_c": (3,), "skip": (4, 5), "window": (3, 3, 6, 5)}


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=shape), jnp.float32)
        for name, shape in SHAPES.items()
    }


def dying(w, unit=2, value=0.7):
    """The weights with a unit of `a` whose map is constant."""
    return w | {
        "a": w["a"].at[:, unit].set(0.0),
        "bias_a": w["bias_a"].at[unit].set(value),
    }


def unchanged(fn, w, x, folded, groups):
    small = channels.remove(folded.variables, groups, folded.keep)
    found = channels.smaller(fn, groups, folded.keep)(small, x)
    np.testing.assert_allclose(found, fn(w, x), rtol=1e-5, atol=1e-5)


X = jnp.asarray(np.random.default_rng(1).normal(size=(7, 4)), jnp.float32)


@pytest.mark.parametrize(
    ("fn", "parameter"), [(plain, "bias_b"), (late, "bias_b"), (padded, None)]
)
def test_a_constant_goes_into_the_parameter_that_is_added_next(fn, parameter):
    w = dying(weights(), value=-1.0 if fn is padded else 0.7)
    groups = channels.groups(fn)(w, X)
    expected = np.arange(6) == 2
    assert channels.dead(fn, groups)(w, X)["a"].tolist() == expected.tolist()
    folded = channels.fold(fn, groups)(w, X)
    assert folded.keep["a"].tolist() == (~expected).tolist()
    assert not folded.refused
    changed = [n for n in w if not np.array_equal(w[n], folded.variables[n])]
    assert changed == ([parameter] if parameter else [])
    unchanged(fn, w, X, folded, groups)


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (bare, r"no parameter was added before .*\(max\)"),
        (shared, "is read twice"),
        (padded, r"reaches beyond the edges \(conv_general_dilated\)"),
        (widest, r"not linear in it \(reduce_max\)"),
    ],
)
def test_what_cannot_be_folded_is_kept_and_says_why(fn, why):
    w = dying(weights())
    groups = channels.groups(fn)(w, X)
    folded = channels.fold(fn, groups)(w, X)
    assert channels.dead(fn, groups)(w, X)["a"].tolist() == [i == 2 for i in range(6)]
    assert folded.keep["a"].all()
    assert list(folded.refused["a"]) == [2]
    with pytest.raises(ValueError, match=rf"keep\['a'\] must keep unit 2, .*{why}"):
        channels.fold(fn, groups, {"a": np.arange(6) != 2})(w, X)
    with pytest.raises(ValueError, match="unit 0, got False: it depends on the input"):
        channels.fold(fn, groups, {"a": np.arange(6) != 0})(w, X)


def test_units_that_nothing_reads_go_too():
    w = weights()
    w["b"] = w["b"].at[1].set(0.0)
    groups = channels.groups(plain)(w, X)
    folded = channels.fold(plain, groups)(w, X)
    assert folded.keep["a"].tolist() == [i != 1 for i in range(6)]
    unchanged(plain, w, X, folded, groups)


def test_a_dead_branch_vanishes_and_another_group_keeps_one_unit():
    rng = np.random.default_rng(0)
    shapes = {"stem": (4, 6), "up": (6, 4), "bias": (4,), "down": (4, 6), "fc": (6, 2)}
    w = {n: jnp.asarray(rng.normal(size=s), jnp.float32) for n, s in shapes.items()}
    w["up"], w["bias"] = jnp.zeros((6, 4)), -jnp.ones(4)
    groups = channels.groups(residual)(w, X)
    folded = channels.fold(residual, groups)(w, X)
    assert {name: int(kept.sum()) for name, kept in folded.keep.items()} == {
        "stem": 6,
        "up": 0,
    }
    unchanged(residual, w, X, folded, groups)
    w = weights()
    w["a"] = jnp.zeros((4, 6))
    groups = channels.groups(plain)(w, X)
    folded = channels.fold(plain, groups)(w, X)
    assert folded.keep["a"].sum() == 1
    assert "would not depend on the input" in str(folded.refused["a"][0])
    unchanged(plain, w, X, folded, groups)


class Net(nn.Module):
    """Convolutions without bias, each before BatchNorm; the second is 1x1."""

    @nn.compact
    def __call__(self, x, *, train=False):
        def norm(name):
            return nn.BatchNorm(use_running_average=not train, name=name)

        x = nn.Conv(16, (3, 3), use_bias=False, name="conv1")(x)
        x = nn.relu(norm("bn1")(x))
        x = nn.Conv(12, (1, 1), use_bias=False, name="conv2")(x)
        x = nn.relu(norm("bn2")(x))
        return nn.Dense(3, name="fc")(x.mean((1, 2)))


@pytest.fixture(scope="module")
def trained():
    """Variables with statistics, masks of RigL at a sparsity that empties channels."""
    model, rng = Net(), np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(16, 4, 4, 2)), jnp.float32)
    labels = jnp.asarray(rng.integers(3, size=16))
    variables: dict = dict(model.init(KEY, x))
    variables["params"]["bn1"]["bias"] += 0.1  # so that dead channels are not all 0
    method = pruning.create(
        "rigl", optax.sgd(0.1), sparsity=0.93, interval=2, end=8, distribution="uniform"
    )

    @jax.jit
    def step(params, stats, state):
        def loss(params):
            y, updated = model.apply(
                {"params": params, **stats}, x, train=True, mutable=["batch_stats"]
            )
            own = optax.softmax_cross_entropy_with_integer_labels(y, labels)
            return own.mean(), updated

        grads, stats = jax.grad(loss, has_aux=True)(params)
        updates, state = method.update(grads, state, params)
        return optax.apply_updates(params, updates), stats, state

    params, stats = variables["params"], {"batch_stats": variables["batch_stats"]}
    state = method.init(params)
    for _ in range(10):
        params, stats, state = step(params, stats, state)
    return model, {"params": params, **stats}, x


@pytest.mark.slow
def test_channels_that_rigl_emptied_are_removed(trained):
    model, variables, x = trained
    groups = channels.groups(model.apply)(variables, x)
    folded = channels.fold(model.apply, groups)(variables, x)
    gone = {name: int((~kept).sum()) for name, kept in folded.keep.items()}
    assert all(gone.values()), gone
    means = [v["batch_stats"]["bn2"]["mean"] for v in (variables, folded.variables)]
    assert not np.array_equal(*means)  # took the constants of conv1's dead channels
    unchanged(model.apply, variables, x, folded, groups)

    def loss(fn):
        return lambda variables: jnp.square(fn(variables, x)).sum()

    small = channels.remove(folded.variables, groups, folded.keep)
    found = jax.grad(loss(channels.smaller(model.apply, groups, folded.keep)))(small)
    expected = jax.grad(loss(model.apply))(variables)
    expected = channels.remove(expected, groups, folded.keep)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@settings(max_examples=6)
@given(
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.sampled_from([plain, bare, late]),
)
def test_any_dead_units_of_small_networks(first, second, fn):
    w = weights()
    first, second = np.array(first), np.array(second)
    w["a"], w["b"] = w["a"] * first[None], w["b"] * second[None]
    groups = channels.groups(fn)(w, X)
    dead = channels.dead(fn, groups)(w, X)
    assert dead["a"][~first].all()
    unchanged(fn, w, X, channels.fold(fn, groups)(w, X), groups)


def test_variables_must_be_whole():
    w = weights()
    groups = channels.groups(plain)(w, X)
    keep = {"a": np.arange(6) < 3}
    with pytest.raises(ValueError, match=r"a must have its whole shape \(4, 6\)"):
        channels.dead(plain, groups)(channels.remove(w, groups, keep), X)
