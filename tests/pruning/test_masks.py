from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import trees
from dst_jax.kernels import Kernel
from dst_jax.pruning import masks


def _params(seed=0, scale=1.0):
    keys = jax.random.split(jax.random.key(seed), 4)
    return {
        "bn1": {"scale": jnp.ones(8), "bias": jnp.zeros(8)},
        "conv1": {"kernel": jax.random.normal(keys[0], (3, 3, 3, 8))},
        "fc": {
            "bias": jnp.zeros(10),
            "kernel": scale * jax.random.normal(keys[1], (8, 10)),
        },
    }


def _kept(mask):
    return {k: int(m.sum()) for k, m in trees.named_leaves(mask).items()}


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.999), st.integers(0, 5))
def test_global_magnitude_equals_a_numpy_sort(sparsity, seed):
    params = _params(seed)
    mask = masks.magnitude(params, sparsity)
    kernels = [params["conv1"]["kernel"], params["fc"]["kernel"]]
    flat = np.concatenate([np.abs(np.asarray(w)).ravel() for w in kernels])
    keep = int((1 - sparsity) * flat.size + 0.5)
    expected = np.zeros(flat.size, bool)
    expected[np.argsort(-flat, kind="stable")[:keep]] = True
    found = np.concatenate([np.ravel(m) for m in jax.tree.leaves(mask)])
    assert (found == expected).all()


@pytest.mark.parametrize("scope", ["global", "layer", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.95])
def test_target_is_met_to_one_weight(scope, sparsity):
    mask = masks.magnitude(_params(scale=0.1), sparsity, scope=scope)
    kept = sum(_kept(mask).values())
    total = 3 * 3 * 3 * 8 + 80
    layers = 2 if scope == "layer" else 1
    assert abs(kept - (1 - sparsity) * total) <= 0.5 * layers + 1e-9
    assert masks.sparsity(mask) == 1 - kept / total


def test_scopes_share_out_differently():
    params = _params(scale=0.01)
    by_scope = {
        scope: _kept(masks.magnitude(params, 0.5, scope=scope))
        for scope in ("global", "layer", "erk")
    }
    assert by_scope["global"] == {"conv1/kernel": 148, "fc/kernel": 0}
    assert by_scope["layer"] == {"conv1/kernel": 108, "fc/kernel": 40}
    assert by_scope["erk"]["fc/kernel"] > 40  # the small layer stays denser


def test_biases_and_normalisation_are_never_pruned():
    mask = masks.magnitude(_params(), 0.9)
    assert mask["bn1"] == {"scale": None, "bias": None}
    assert mask["fc"]["bias"] is None


def test_rules_choose_and_the_first_match_wins():
    rules = [("fc/kernel", False), ("bn1/scale", True)]
    mask = masks.magnitude(_params(), 0.5, rules=rules)
    assert mask["fc"]["kernel"] is None
    assert mask["bn1"]["scale"] is not None
    assert mask["bn1"]["bias"] is None


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 3))
def test_threshold_keeps_what_is_not_below(t):
    params = _params()
    mask = masks.threshold(params, t)
    kernel = np.asarray(params["conv1"]["kernel"])
    assert (mask["conv1"]["kernel"] == (np.abs(kernel) >= np.float32(t))).all()


def test_threshold_may_be_traced():
    traced = jax.jit(masks.threshold)({"w": jnp.eye(3)}, 0.5)
    assert (traced["w"] == jnp.eye(3, dtype=bool)).all()


def test_apply_is_exact_and_keeps_dtype():
    params = {"w": jnp.full((2, 2), 0.1, jnp.bfloat16), "b": jnp.ones(2)}
    mask = {"w": jnp.eye(2, dtype=bool), "b": None}
    out = masks.apply(mask, params)
    assert out["w"].dtype == jnp.bfloat16
    assert (out["w"] == jnp.where(mask["w"], params["w"], 0)).all()
    assert (out["b"] == params["b"]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: masks.magnitude(p, 1.0), r"sparsity must be in \[0, 1\), got 1.0"),
        (lambda p: masks.magnitude(p, -0.1), r"sparsity must be in \[0, 1\)"),
        (lambda p: masks.magnitude(p, float("nan")), r"sparsity must be in"),
        (lambda p: masks.threshold(p, -1.0), "t must be a finite number >= 0"),
        (lambda p: masks.magnitude(p, 0.5, rules=[("x", True)]), "matches none of"),
        (lambda p: masks.magnitude(p, 0.5, rules=[("fc", 1)]), "must be True or False"),
        (lambda p: masks.magnitude({"b": p["fc"]["bias"]}, 0.5), "nothing to prune"),
        (lambda p: masks.sparsity({"b": None}), "has no leaves"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(_params())


def test_unknown_scope_lists_the_known():
    with pytest.raises((ValueError, TypeError), match="scope"):
        masks.magnitude(_params(), 0.5, scope="random")


def _stack(n=3):
    return {
        "blocks": {
            "kernel": jnp.ones((n, 4, 5)),
            "bias": jnp.ones((n, 5)),
            "LayerNorm_0": {"scale": jnp.ones((n, 4)), "bias": jnp.ones((n, 4))},
        },
        "embed": {"embedding": jnp.ones((9, 4))},
        "pos_embedding": jnp.ones((1, 9, 4)),
        "cls_token": jnp.ones((1, 1, 4)),
        "layer_scale": jnp.ones((1, 1, 4)),
        "attention": {
            "query": {"kernel": jnp.ones((4, 2, 2)), "bias": jnp.ones((2, 2))}
        },
        "counts": jnp.ones((4, 4), jnp.int32),
        "flags": jnp.ones((4, 4), bool),
        "keys": jax.random.split(jax.random.key(0), 4).reshape(2, 2),
        "steps": {"kernel": jnp.ones((2, 2), jnp.int32)},
    }


def test_kernels_alone_are_prunable_by_default():
    pruned = trees.named_leaves(masks.prunable(_stack()))
    assert list(pruned) == ["attention/query/kernel", "blocks/kernel"]
    mask = masks.magnitude(_stack(), 0.5)
    assert set(trees.named_leaves(mask)) == set(pruned)


def test_zero_initialised_biases_of_a_stack_stay():
    params = _stack()
    params["blocks"]["bias"] = jnp.zeros((3, 5))
    mask = masks.magnitude(params, 0.5)
    assert mask["blocks"]["bias"] is None
    assert mask["attention"]["query"]["bias"] is None


def test_a_rule_takes_a_leaf_that_is_no_kernel_as_one_layer():
    rules = [("cls_token|pos", True), ("kernel", False)]
    mask = masks.magnitude(_stack(), 0.5, rules=rules, scope="layer")
    assert _kept(mask) == {"cls_token": 2, "pos_embedding": 18}


@pytest.mark.parametrize(
    ("name", "dtype"), [("counts", "int32"), ("flags", "bool"), ("keys", "key<fry>")]
)
def test_a_rule_cannot_prune_what_is_not_real(name, dtype):
    with pytest.raises(
        ValueError, match=f"{name} must be real to be pruned, got {dtype}"
    ):
        masks.prunable(_stack(), [(name, True)])


def test_complex_kernels_are_refused_by_name():
    params = {"fc": {"kernel": jnp.ones((2, 2), jnp.complex64)}} | _params()
    for call in (
        masks.prunable,
        lambda p: masks.magnitude(p, 0.5),
        lambda p: masks.threshold(p, 0.5),
    ):
        tree = {"a": {"kernel": jnp.ones((2, 2), jnp.complex64)}, "fc": params["fc"]}
        with pytest.raises(ValueError, match=r"a/kernel .*complex64"):
            call(tree)
    left = masks.prunable(tree, [("^a/", False)])
    assert list(trees.named_leaves(left)) == ["fc/kernel"]
    with pytest.raises(ValueError, match="z must be real to be pruned, got complex64"):
        masks.prunable({"z": jnp.ones(2, jnp.complex64)}, [("z", True)])


def test_a_stack_is_its_layers_apart():
    weights = jax.random.normal(jax.random.key(0), (3, 4, 5))
    kernels = {"blocks/kernel": Kernel(stack=(0,), inputs=(1,), outputs=(2,))}
    stack = {"blocks": {"kernel": weights}}
    alone = {str(i): {"kernel": weights[i]} for i in range(3)}
    for scope in ("global", "layer", "erk"):
        found = masks.magnitude(stack, 0.7, scope=scope, kernels=kernels)
        expected = masks.magnitude(alone, 0.7, scope=scope)
        for i in range(3):
            one = found["blocks"]["kernel"][i]
            assert (one == expected[str(i)]["kernel"]).all()


def _messages(caplog):
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_a_layer_that_is_pruned_whole_is_warned_of_once(caplog):
    params = {
        "first": {"kernel": 0.01 * jnp.ones((2, 2))},
        "second": {"kernel": jnp.ones((2, 2))},
    }
    mask = masks.magnitude(params, 0.5)
    assert masks.emptied(mask) == ("first/kernel",)
    assert caplog.records[0].levelname == "WARNING"
    message = "pruned whole: first/kernel; layer_floor keeps a share of every layer"
    assert _messages(caplog) == [message]
    masks.threshold(params, 0.5)
    assert _messages(caplog) == [message]
    kernels = {"b/kernel": Kernel(stack=(0,), inputs=(1,), outputs=(2,))}
    stack = {"b": {"kernel": jnp.ones((2, 3, 3)) * jnp.array([1.0, 9])[:, None, None]}}
    masks.magnitude(stack, 0.5, kernels=kernels)
    assert _messages(caplog) == [message.replace("first/kernel", "b/kernel/0")]
    jax.jit(lambda p: masks.magnitude(p, 0.5))(params)  # unknown while JAX traces
    masks.magnitude(params, 0.5, scope="layer")
    masks.magnitude(params, 0.5, layer_floor=0.25)
    assert _messages(caplog) == []


@pytest.mark.parametrize("scope", ["global", "erk"])
def test_a_floor_keeps_every_layer_alive(scope):
    params = {
        "first": {"kernel": 0.01 * jnp.arange(1.0, 41).reshape(4, 10)},
        "second": {"kernel": jnp.arange(1.0, 41).reshape(4, 10)},
    }
    mask = masks.magnitude(params, 0.5, scope=scope, layer_floor=0.1)
    assert sum(_kept(mask).values()) == 40
    if scope == "global":
        assert _kept(mask) == {"first/kernel": 4, "second/kernel": 36}
        assert mask["first"]["kernel"].ravel()[-4:].all()
    with pytest.raises(ValueError, match=r"layer_floor must leave room: 0.6 keeps 48"):
        masks.magnitude(params, 0.5, scope=scope, layer_floor=0.6)


def test_empty_kernels_are_never_pruned():
    empty = jnp.zeros((0, 3))
    params = {"a": {"kernel": jnp.arange(8.0).reshape(2, 4)}, "z": {"kernel": empty}}
    for scope in ("global", "layer", "erk"):
        mask = masks.magnitude(params, 0.5, scope=scope)
        assert mask["z"]["kernel"] is None
        assert mask["a"]["kernel"].sum() == 4
    assert masks.threshold(params, 4)["a"]["kernel"].sum() == 4
    with pytest.raises(ValueError, match="nothing to prune"):
        masks.magnitude({"z": {"kernel": empty}}, 0.5)


def test_more_weights_than_an_int32_counts():
    """Global distributions compare all weights; the others one layer at a time."""
    half = jax.ShapeDtypeStruct((2**15, 2**16 - 1), jnp.float32)
    params = {"a": {"kernel": half}, "b": {"kernel": half}}
    with pytest.raises(ValueError, match="at most 2147483647 weights, got 42"):
        jax.eval_shape(lambda p: masks.magnitude(p, 0.5), params)
    for scope in ("layer", "erk"):
        prune = partial(masks.magnitude, sparsity=0.5, scope=scope)
        found = jax.eval_shape(prune, params)
        assert found["b"]["kernel"].shape == half.shape
    found = jax.eval_shape(lambda p: masks.threshold(p, 0.5), params)
    assert found["a"]["kernel"].dtype == bool


def test_kernels_of_another_network_are_refused():
    kernels = {"other/kernel": Kernel(inputs=(0,), outputs=(1,))}
    with pytest.raises(ValueError, match=r"kernels must be those of this tree"):
        masks.magnitude(_params(), 0.5, kernels=kernels)
