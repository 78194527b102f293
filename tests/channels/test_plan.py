"""Plans: plain data in original coordinates, of which two make one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels
from dst_jax.channels import Plan
from tests.channels.conftest import subsets

relu = jax.nn.relu


def net(w, x):
    """Flattened maps, a concatenation and a residual stream."""
    h = relu(jnp.einsum("bhc,cd->bhd", x, w["conv"]))
    h = h + relu(jnp.einsum("bhc,cd->bhd", h, w["block"]))
    flat = relu(h.reshape(len(h), -1) @ w["fc"])
    both = jnp.concatenate([flat, relu(flat @ w["more"])], axis=1)
    return both @ w["head"], {"h": h, "both": both}


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    shapes = {
        "conv": (3, 6),
        "block": (6, 6),
        "fc": (12, 8),
        "more": (8, 9),
        "head": (17, 4),
    }
    return {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(1).normal(size=(7, 2, 3)), jnp.float32)


@pytest.fixture
def groups(weights, x):
    return channels.groups(net, has_aux=True)(weights, x)


@pytest.mark.slow
def test_two_rounds_make_one_plan(weights, x, groups):
    first = subsets(groups, 0)
    left = groups.after(first)
    second = subsets(left, 1)
    plan = Plan.of(groups, first).then(second)
    twice = channels.remove(channels.remove(weights, groups, first), left, second)
    jax.tree.map(np.testing.assert_array_equal, plan.remove(weights), twice)
    assert not all(map(np.array_equal, plan.keep.values(), first.values()))
    assert plan.since(Plan.of(groups, first)).keys() == second.keys()
    for name, kept in plan.since(Plan.of(groups, first)).items():
        np.testing.assert_array_equal(kept, second[name])
    small = channels.smaller(net, plan.groups, plan.keep, has_aux=True)
    expected = net(channels.mask(weights, groups, plan.keep), x)[0]
    np.testing.assert_allclose(small(twice, x)[0], expected, rtol=1e-5, atol=1e-5)


def test_what_is_left_has_the_groups_of_its_own_trace(weights, x, groups):
    keep = subsets(groups, 0)
    small = channels.smaller(net, groups, keep, has_aux=True)
    traced = channels.groups(small, has_aux=True)(
        channels.remove(weights, groups, keep), x
    )
    left = groups.after(keep)
    assert left.shapes == traced.shapes
    assert left.aux == traced.aux
    assert left.keys() == traced.keys()
    for name, group in left.items():
        assert group.size == traced[name].size
        for ours, theirs in zip(group.members, traced[name].members, strict=True):
            assert ours[:2] == theirs[:2]
            np.testing.assert_array_equal(ours[2], theirs[2])


def test_a_plan_is_json_and_back(groups):
    plan = Plan.of(groups, subsets(groups, 2))
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert hash(again) == hash(plan)
    assert again.positions == plan.positions
    assert again.shapes == plan.shapes
    assert again.split == plan.split
    assert again.explain() == plan.explain()
    assert again != Plan.of(groups, subsets(groups, 3))


def test_positions_say_what_is_cut_without_a_trace(weights, groups):
    plan = Plan.of(groups, subsets(groups, 2))
    for path, leaf in weights.items():
        for axis, at in plan.positions[path].items():
            leaf = leaf.take(np.array(at), axis)
        np.testing.assert_array_equal(leaf, plan.remove(weights)[path])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kept": {"conv": [0, 9]}}, r"kept\['conv'\] must be units in \[0, 6\)"),
        ({"kept": {"conv": []}}, r"\['conv'\] must"),
        ({"kept": {"cnv": [0]}}, "group must be one of .* did you mean 'conv'"),
        ({"kept": [1]}, "kept must be a mapping"),
        ({"shapes": {"conv": [3, 5]}}, "positions at block axis 0, whose shape is"),
        ({"groups": {"conv": {}}}, "entries of another form: KeyError: 'size'"),
        ({"split": "both"}, "split must be one of"),
    ],
)
def test_what_is_no_plan_is_refused(groups, change, said):
    record = Plan.of(groups, {}).to_json()
    with pytest.raises(ValueError, match=said):
        Plan.from_json(record | change)
    del record["kept"]
    with pytest.raises(ValueError, match="must have the entry 'kept'"):
        Plan.from_json(record)


def test_another_length_or_order_is_refused(groups):
    plan = Plan.of(groups, {"conv": np.arange(6) < 3})
    with pytest.raises(ValueError, match="units that are left"):
        plan.then({"conv": np.ones(6, bool)})
    with pytest.raises(ValueError, match="has removed 'conv' units"):
        Plan.of(groups, {}).since(plan)


def test_dropout_keeps_the_groups_of_evaluation(weights, x):
    def dropped(w, x):
        h = relu(x.reshape(len(x), -1) @ w["fc"][:6])
        kept = jax.random.bernoulli(jax.random.key(0), 0.5, h.shape)
        return jnp.where(kept, h / 0.5, 0) @ w["head"][:8]

    w = {"fc": weights["fc"][:6], "head": weights["head"][:8]}
    groups = channels.groups(dropped)(w, x)
    assert [(group.size, group.exact) for group in groups.values()] == [(8, True)]
    keep = {"fc": np.arange(8) < 5}
    small = channels.smaller(dropped, groups, keep)(channels.remove(w, groups, keep), x)
    assert small.shape == (7, 4)


def test_bits_of_other_sizes_are_fixed():
    def halves(w, x):
        bits = jax.lax.bitcast_convert_type(x @ w["a"], jnp.uint16)
        return bits.astype(jnp.float32).sum(-1) @ w["b"]

    w = {"a": jnp.ones((2, 4)), "b": jnp.ones((4, 1))}
    found = channels.groups(halves)(w, jnp.ones((1, 2)))
    assert not found
    assert "share its bits" in found.explain()
