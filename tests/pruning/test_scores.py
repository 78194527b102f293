"""Scores, and the masks before training that are made of them, against NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.pruning import at_init, scores


def _layers(widths, seed=0):
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(widths)
    return {
        f"layer{i:02d}": rng.normal(size=pair).astype("f")
        for i, pair in enumerate(pairs)
    }


def _linear(params, x):
    for kernel in params.values():
        x = x @ kernel
    return x.sum()


def _quadratic(params, batch):
    matrix, vector = batch
    w = params["w"].ravel()
    return 0.5 * w @ matrix @ w + vector @ w


def _quadratic_batch(rng, n):
    half = rng.normal(size=(n, n)).astype("f")
    return half + half.T, rng.normal(size=n).astype("f")


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (lambda w, g: scores.magnitude(w), [2.0, 3.0]),
        (lambda w, g: scores.gradient(w, grads=g), [5.0, 1.0]),
        (lambda w, g: scores.snip(w, grads=g), [10.0, 3.0]),
        (lambda w, g: scores.taylor(w, grads=g), [100.0, 9.0]),
        (lambda w, g: scores.movement(w, accumulated=g), [-5.0, 1.0]),
        (lambda w, g: scores.grasp(w, hessian_gradient=g), [-10.0, -3.0]),
    ],
)
def test_formulas_in_float32_with_none_leaves(score, expected):
    w = {"w": jnp.array([-2.0, 3.0], jnp.bfloat16), "absent": None}
    g = {"w": jnp.array([5.0, -1.0], jnp.bfloat16), "absent": None}
    found = score(w, g)
    assert found["absent"] is None
    assert found["w"].dtype == jnp.float32
    assert found["w"].tolist() == expected


def test_random_scores_differ_between_leaves_and_keys():
    params = {"a": jnp.ones((4, 4)), "b": jnp.ones((4, 4))}
    found = scores.random(params, key=jax.random.key(0))
    other = scores.random(params, key=jax.random.key(1))
    assert (found["a"] != found["b"]).any()
    assert (found["a"] != other["a"]).any()
    again = jax.jit(lambda key: scores.random(params, key=key))(jax.random.key(0))
    assert (found["a"] == again["a"]).all()


def test_wanda_equals_numpy_and_refuses_what_does_not_fit():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 3, 4, 5)).astype("f"), rng.normal(size=(7, 2, 4))
    norms = scores.input_norms(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(norms, np.sqrt((x**2).sum((0, 1))), rtol=1e-6)
    found = scores.wanda({"conv": w}, norms={"conv": norms})["conv"]
    expected = abs(w) * np.asarray(norms)[None, None, :, None]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"norms at conv must have the shape \(in,\)"):
        scores.wanda({"conv": w}, norms={"conv": norms[:3]})


def test_snip_equals_numpy():
    rng = np.random.default_rng(1)
    batch = matrix, vector = _quadratic_batch(rng, 12)
    w = rng.normal(size=12).astype("f")
    found = at_init.snip({"w": w.reshape(3, 4)}, _quadratic, batch, sparsity=0.5)
    sensitivity = abs(w * (matrix @ w + vector))
    assert (found["w"].ravel() == (sensitivity >= np.sort(sensitivity)[6])).all()


def test_grasp_removes_the_highest_of_minus_w_h_g():
    rng = np.random.default_rng(2)
    batch = matrix, vector = _quadratic_batch(rng, 12)
    w = rng.normal(size=12).astype("f")
    params = {"w": w.reshape(3, 4), "bias": jnp.ones(2)}
    found = at_init.grasp(params, _quadratic, batch, sparsity=0.25)
    removal = -w * (matrix @ (matrix @ w + vector))
    removed = np.argsort(removal)[-3:]
    assert np.flatnonzero(~np.asarray(found["w"]).ravel()).tolist() == sorted(removed)
    assert found["bias"] is None


def _synflow_in_float64(layers, sparsity, rounds):
    weights = [abs(w.astype(np.float64)) for w in layers.values()]
    masks = [np.ones(w.shape, bool) for w in weights]
    total = sum(w.size for w in weights)
    for k in range(1, rounds + 1):
        masked = [w * m for w, m in zip(weights, masks, strict=True)]
        before = [np.ones(masked[0].shape[0])]
        for w in masked:
            before.append(before[-1] @ w)
        after = [np.ones(masked[-1].shape[1])]
        for w in reversed(masked):
            after.append(w @ after[-1])
        flow = [
            w * np.outer(a, b)
            for w, a, b in zip(masked, before, after[-2::-1], strict=False)
        ]
        flat = np.concatenate(
            [np.where(m, f, -1).ravel() for m, f in zip(masks, flow, strict=True)]
        )
        kept = int(np.floor((1 - sparsity) ** (k / rounds) * total + 0.5))
        chosen = np.zeros(total, bool)
        chosen[np.argsort(-flat, kind="stable")[:kept]] = True
        cuts = np.cumsum([w.size for w in weights])[:-1]
        parts = np.split(chosen, cuts)
        masks = [p.reshape(w.shape) for p, w in zip(parts, weights, strict=True)]
    return masks


@pytest.mark.slow
# 24 layers of 60: sums of paths reach 60^24 ~ 1e43, past float32.
@pytest.mark.parametrize("widths", [(5, 8, 6, 3), (4,) + (60,) * 24 + (3,)])
def test_synflow_equals_float64(widths):
    layers = _layers(widths)
    inputs = jnp.ones((1, widths[0]))
    found = at_init.synflow(layers, _linear, inputs, sparsity=0.9, rounds=4)
    expected = _synflow_in_float64(layers, 0.9, 4)
    both = list(zip(found.values(), expected, strict=True))
    differing = sum(int((np.asarray(a) != b).sum()) for a, b in both)
    total = sum(b.size for b in expected)
    # Rounding may swap the two weights at the threshold, one pair a round.
    assert differing <= 8
    assert sum(int(a.sum()) for a in found.values()) == round(0.1 * total)
    assert all(a.any() for a, _ in both)  # no layer is empty


def test_synflow_refuses_what_it_cannot_compute():
    layers = {k: 1e20 * w for k, w in _layers((4, 60, 60, 60, 60, 3)).items()}
    with pytest.raises(ValueError, match="synaptic flow overflows"):
        at_init.synflow(layers, _linear, jnp.ones((1, 4)), sparsity=0.5, rounds=1)
    with pytest.raises(ValueError, match="rounds must be a finite number >= 1, got 0"):
        at_init.synflow(layers, _linear, jnp.ones((1, 4)), sparsity=0.5, rounds=0)


@pytest.mark.parametrize("score", ["magnitude", "snip", "movement"])
def test_complex_weights_are_refused(score):
    w = {"w": jnp.array([3j, 0.1])}
    given = {"snip": {"grads": w}, "movement": {"accumulated": w}}.get(score, {})
    with pytest.raises(ValueError, match="scores are those of real weights, got compl"):
        getattr(scores, score)(w, **given)


@pytest.mark.parametrize("shape", [(300, 301), (2, 3, 130, 90)])
def test_large_leaves_are_drawn_as_small_ones_are(shape):
    key = jax.random.key(3)
    drawn = scores.random({"w": jnp.zeros(shape)}, key=key)["w"]
    flat = jax.random.uniform(jax.random.fold_in(key, 0), (drawn.size,))
    np.testing.assert_array_equal(drawn, flat.reshape(shape))
