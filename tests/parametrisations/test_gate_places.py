"""Gates stand in the last affine maps before readers, or their group says why not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import channels
from dst_jax.parametrisations import gateable, gated
from tests.channels.conftest import subsets
from tests.channels.test_networks import random, shapes

relu = jax.nn.relu


def _norm(w, name, x):
    """BatchNorm with running statistics, of which scale and bias may be missing."""
    p, s = w["params"].get(name, {}), w["batch_stats"][name]
    factor = lax.rsqrt(s["var"] + 1e-5) * p.get("scale", 1.0)
    return (x - s["mean"][None]) * factor[None] + p.get("bias", jnp.zeros(1))[None]


def _trained_norm(w, name, x):
    """BatchNorm with the statistics of the batch."""
    p = w["params"].get(name, {})
    mean = x.mean(0)
    var = (x**2).mean(0) - mean**2
    factor = lax.rsqrt(var + 1e-5) * p.get("scale", 1.0)
    return (x - mean[None]) * factor[None] + p.get("bias", jnp.zeros(1))[None]


def _layer_norm(w, name, x):
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    p = w["params"][name]
    return (x - mean) * lax.rsqrt(var + 1e-5) * p["scale"][None] + p["bias"][None]


def _dense(w, name, x):
    p = w["params"][name]
    return x @ p["kernel"] + p["bias"][None] if "bias" in p else x @ p["kernel"]


def plain(w, x):
    return _dense(w, "fc", relu(_dense(w, "a", x)))


def normed(w, x):
    return _dense(w, "fc", relu(_norm(w, "bn", _dense(w, "a", x))))


def trained(w, x):
    return _dense(w, "fc", relu(_trained_norm(w, "bn", _dense(w, "a", x))))


def residual(w, x):
    x = relu(_norm(w, "bn", _dense(w, "a", x)))
    y = relu(_norm(w, "bn1", _dense(w, "b", x)))
    return _dense(w, "fc", relu(x + _norm(w, "bn2", _dense(w, "c", y))))


def depthwise(w, x):
    x = relu(_norm(w, "bn", _dense(w, "a", x)))
    x = x * w["params"]["own"]["kernel"][None]
    return _dense(w, "fc", relu(_norm(w, "bn1", x)))


def depthwise_alone(w, x):
    x = relu(_norm(w, "bn", _dense(w, "a", x)))
    return _dense(w, "fc", relu(x * w["params"]["own"]["kernel"][None]))


def dense_block(w, x):
    x = _dense(w, "a", x)
    y = _dense(w, "b", relu(_norm(w, "bn", x)))
    both = jnp.concatenate([x, y], -1)
    return _dense(w, "fc2", relu(_norm(w, "both", both)))


def excited(w, x):
    x = _norm(w, "bn", _dense(w, "a", x))
    return _dense(w, "fc", x * jax.nn.sigmoid(_dense(w, "b", x.mean(0)[None])))


def both_ways(w, x):
    x = _dense(w, "a", x)
    return _dense(w, "b", x) @ jnp.ones((6, 2)) + _dense(w, "fc", _norm(w, "bn", x))


def layer_norm(w, x):
    return _dense(w, "fc", _layer_norm(w, "bn", _dense(w, "a", x)))


def saturated(w, x):
    return _dense(w, "fc", jax.nn.sigmoid(_dense(w, "a", x)))


def looped(w, x):
    x = relu(_dense(w, "a", x))
    body = lambda x, _: (relu(x * 0.5), None)  # noqa: E731
    return _dense(w, "fc", lax.scan(body, x, None, length=2)[0])


SIZES = {"bn": 6, "bn1": 6, "bn2": 6, "both": 12}
KERNELS = {"a": (3, 6), "b": (6, 6), "c": (6, 6), "fc": (6, 2), "fc2": (12, 2)}


def _weights(*names, bare=()):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params, stats = {}, {}
    for name in names:
        if name in SIZES:
            size = SIZES[name]
            stats[name] = {"mean": draw(size), "var": abs(draw(size)) + 0.5}
            params[name] = {"scale": draw(size), "bias": draw(size)}
        elif name == "own":
            params[name] = {"kernel": draw(6)}
        else:
            params[name] = {
                "kernel": draw(*KERNELS[name]),
                "bias": draw(KERNELS[name][1]),
            }
    for name in bare:
        del params[name]["scale"]
    return {"params": params, "batch_stats": stats}


def _found(fn, weights):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)), jnp.float32)
    return x, channels.groups(fn)(weights, x)


def _norms(*names):
    return {f"{name}/{leaf}" for name in names for leaf in ("scale", "bias")}


PLACES = {
    "kernel and bias": (plain, ("a", "fc"), {"a": {"a/kernel", "a/bias"}}),
    "scale and bias": (normed, ("a", "bn", "fc"), {"a": _norms("bn")}),
    "statistics of the batch": (trained, ("a", "bn", "fc"), {"a": _norms("bn")}),
    "all branches of a sum": (
        residual,
        ("a", "bn", "b", "bn1", "c", "bn2", "fc"),
        {"a": _norms("bn", "bn2"), "b": _norms("bn1")},
    ),
    "the second of two": (
        depthwise,
        ("a", "bn", "own", "bn1", "fc"),
        {"a": _norms("bn1")},
    ),
    "a depthwise kernel": (
        depthwise_alone,
        ("a", "bn", "own", "fc"),
        {"a": {"own/kernel"}},
    ),
    "every normalisation that reads": (
        dense_block,
        ("a", "bn", "b", "both", "fc2"),
        {"a": _norms("bn", "both"), "b": _norms("both")},
    ),
    "one factor of a product": (excited, ("a", "bn", "b", "fc"), {"a": _norms("bn")}),
}


@pytest.mark.parametrize(("fn", "names", "places"), PLACES.values(), ids=PLACES)
def test_the_last_affine_maps_before_readers_are_gated(fn, names, places):
    weights = _weights(*names)
    x, groups = _found(fn, weights)
    for name, expected in places.items():
        group = groups[name]
        found = {group.members[i][0].removeprefix("params/") for i in group.gates}
        assert found == expected, group.ungated
    p = gated(groups)
    given = {name: jnp.ones(group.size) for name, group in groups.items()}
    np.testing.assert_array_equal(fn(p.multiplied(weights, given), x), fn(weights, x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["all branches of a sum", "the second of two", "one factor of a product"]
)
def test_at_zero_a_gate_is_removal(case):
    fn, names, _ = PLACES[case]
    weights = _weights(*names)
    x, groups = _found(fn, weights)
    keep = subsets(groups, 1)
    p = gated(groups)
    zeros = {name: jnp.asarray(kept, jnp.float32) for name, kept in keep.items()}
    small = channels.remove(weights, groups, keep)
    found = channels.smaller(fn, groups, keep)(small, x)
    expected = fn(p.multiplied(weights, zeros), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_gate_has_a_slope_where_statistics_are_of_the_batch():
    """Before the normalisation its slope would be that of eps, 1e-5."""
    weights = _weights("a", "bn", "fc")
    x, groups = _found(trained, weights)
    p = gated(groups)

    def loss(gates):
        return jnp.sin(trained(p({"weights": weights, "gates": gates}, ()), x)).sum()

    half = {"a": jnp.zeros(6)}
    slopes = jax.grad(loss)(half)["a"]
    assert jnp.abs(slopes).min() > 1e-3
    for unit in range(2):
        up, down = (loss({"a": half["a"].at[unit].add(d)}) for d in (1e-2, -1e-2))
        np.testing.assert_allclose(slopes[unit], (up - down) / 2e-2, rtol=2e-2)


REFUSED = {
    "before and behind": (both_ways, ("a", "b", "bn", "fc"), (), "multiplied again"),
    "no scale": (normed, ("a", "bn", "fc"), ("bn",), "has no scale"),
    "no scale, batch": (trained, ("a", "bn", "fc"), ("bn",), "has no scale"),
    "statistics of units": (layer_norm, ("a", "bn", "fc"), (), "behind it|not 0"),
    "not 0": (saturated, ("a", "fc"), (), "not 0 where the gate is 0"),
    "a loop": (looped, ("a", "fc"), (), "a loop or a branch"),
}


@pytest.mark.parametrize(("fn", "names", "bare", "why"), REFUSED.values(), ids=REFUSED)
def test_a_group_without_a_place_is_refused_by_name(fn, names, bare, why):
    _, groups = _found(fn, _weights(*names, bare=bare))
    assert "no gates: " in groups.explain()
    open_, refused = gateable(groups)
    assert "a" not in open_
    with pytest.raises(ValueError, match=rf"group a cannot be gated: .*({why})"):
        gated({"a": groups["a"]})
    assert str(refused["a"]) == str(groups["a"].ungated)


def test_the_places_are_in_the_record_of_a_plan():
    weights = _weights("a", "bn", "fc")
    _, groups = _found(normed, weights)
    keep = {"a": np.arange(6) < 4}
    plan = channels.Plan.of(groups, keep)
    again = channels.Plan.from_json(plan.to_json())
    assert again.groups["a"].gates == groups["a"].gates
    assert groups.after(keep)["a"].gates == groups["a"].gates
    old = plan.to_json()
    for group in old["groups"].values():
        del group["gates"], group["ungated"]
    assert channels.Plan.from_json(old).groups["a"].gates == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("unet", {"width": 0.125, "depth": 3}), ("resnet20", {"width": 0.25})],
)
def test_a_network_at_gates_of_zero_is_the_smaller_network(name, options):
    """With concatenations; with residual streams and a branch that is emptied."""
    model, variables, x = shapes(name, **options)
    groups = channels.groups(model.apply)(variables, x)
    assert not gateable(groups)[1]
    keep = subsets(groups, 2)
    for branch in [n for n, group in groups.items() if group.needed is None][:1]:
        keep[branch] = np.zeros(groups[branch].size, bool)
    weights, x = random(variables), random({"x": x})["x"]
    zeros = {name: jnp.asarray(kept, jnp.float32) for name, kept in keep.items()}
    off = gated(groups).multiplied(weights, zeros)
    small = channels.remove(weights, groups, keep)
    found = jax.jit(channels.smaller(model.apply, groups, keep))(small, x)
    np.testing.assert_allclose(
        found, jnp.asarray(model.apply(off, x)), rtol=1e-4, atol=1e-5
    )


def test_of_a_vision_transformer_the_stream_alone_is_refused():
    model, variables, x = shapes("vit_tiny", size=32, width=0.5, depth=1)
    groups = channels.groups(model.apply)(variables, x)
    assert list(gateable(groups)[1]) == ["patch_embed/proj"]
