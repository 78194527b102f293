import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import trees
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


@pytest.mark.filterwarnings("ignore:pruned whole")
@pytest.mark.parametrize("scope", ["global", "layer", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.95])
def test_target_is_met_to_one_weight(scope, sparsity):
    mask = masks.magnitude(_params(scale=0.1), sparsity, scope=scope)
    kept = sum(_kept(mask).values())
    total = 3 * 3 * 3 * 8 + 80
    layers = 2 if scope == "layer" else 1
    assert abs(kept - (1 - sparsity) * total) <= 0.5 * layers + 1e-9
    assert masks.sparsity(mask) == 1 - kept / total


@pytest.mark.filterwarnings("ignore:pruned whole")
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


@pytest.mark.filterwarnings("ignore:pruned whole")
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
