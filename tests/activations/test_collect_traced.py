"""Taps of any function: what loops, vmap, jit and remat do to them."""

import functools
from inspect import unwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, channels, cost, kernels
from dst_jax.activations import collect, maps_of, tap

W = jax.random.normal(jax.random.key(0), (3, 4, 4))
X = jax.random.normal(jax.random.key(1), (5, 4))


def layer(w, x):
    return tap(jax.nn.relu(x @ w), "relu")


def unrolled(w, x):
    for one in w:
        x = layer(one, x)
    return x


def scanned(w, x):
    return jax.lax.scan(lambda x, w: (jax.checkpoint(layer)(w, x), None), x, w)[0]


def of_examples(w, x):
    return jax.vmap(functools.partial(scanned, w))(x)


def ensemble(w, x):
    return jax.vmap(jax.jit(layer), (0, None))(w, x).sum(0)


def vmapped_elsewhere(w, x):
    """`vmap` along the last axis, which the maps have in front."""
    return jax.vmap(functools.partial(unrolled, w), in_axes=1, out_axes=1)(x.T)


WAYS = {
    "unrolled": unrolled,
    "scanned": scanned,
    "of examples": of_examples,
    "jitted": jax.jit(unrolled),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_layers_has_the_same_maps(way):
    def loss(w, fn):
        output, maps = collect(fn)(w, X)
        return output.sum() + sum(
            i * x.sum() for i, x in enumerate(maps.values())
        ), maps

    graded = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
    (grads, maps), (wanted, reference) = graded(W, WAYS[way]), graded(W, unrolled)
    assert list(maps) == ["relu/0", "relu/1", "relu/2"]
    for name, x in reference.items():
        np.testing.assert_allclose(maps[name], x, rtol=1e-5)
    np.testing.assert_allclose(grads, wanted, rtol=1e-4, atol=1e-5)


def test_layers_under_vmap_are_not_taken_for_the_batch():
    shapes = jax.eval_shape(collect(ensemble), W, X)[1]
    assert {name: x.shape for name, x in shapes.items()} == {
        f"relu/{i}": (5, 4) for i in range(3)
    }
    moved = jax.eval_shape(collect(vmapped_elsewhere), W, X)[1]
    assert {x.shape for x in moved.values()} == {(5, 4)}


def test_a_tap_that_nobody_collects_is_not_in_the_program():
    plain = jax.jit(lambda w, x: jax.nn.relu(x @ w)).lower(W[0], X)
    tapped = jax.jit(layer).lower(W[0], X)
    count = [lowered.as_text().count("stablehlo.") for lowered in (plain, tapped)]
    assert count[0] == count[1]


def test_analyses_pass_the_tap():
    fn = lambda w, x: tap(jax.nn.relu(x @ w["a"]), "relu") @ w["b"]  # noqa: E731
    w = {"a": np.ones((4, 6), "f"), "b": np.ones((6, 3), "f")}
    assert list(jax.eval_shape(cost.count(fn), w, X)) == ["a", "b"]
    assert list(kernels.by_use(fn)(w, X)) == ["a", "b"]
    groups, keep = channels.groups(fn)(w, X), {"a": np.arange(6) < 4}
    small = channels.smaller(fn, groups, keep)
    _, maps = jax.eval_shape(collect(small), channels.remove(w, groups, keep), X)
    assert maps["relu"].shape == (5, 4)
    aux = channels.groups(collect(fn), has_aux=True)(w, X).aux
    assert aux["relu"][1] == tuple(("a", i) for i in range(6))


def test_what_cannot_be_collected_is_refused_by_name():
    def branch(w, x):
        return jax.lax.cond(x.sum() > 0, functools.partial(layer, w[0]), jnp.abs, x)

    def loop(w, x):
        return jax.lax.while_loop(lambda x: x.sum() < 0, lambda x: layer(w[0], x), x)

    def custom(w, x):
        function = jax.custom_jvp(layer)
        function.defjvps(None, None)
        return function(w[0], x)

    for fn, name in ((branch, "cond"), (loop, "while"), (custom, "custom_jvp_call")):
        with pytest.raises(ValueError, match=f"'relu' must be outside of '{name}'"):
            jax.eval_shape(collect(fn), W, X)
    clash = lambda w, x: unrolled(w, tap(x, "relu/1"))  # noqa: E731
    with pytest.raises(ValueError, match="got two called 'relu/1'"):
        jax.eval_shape(collect(clash), W, X)
    fixed = lambda w, x: jax.vmap(functools.partial(layer, w[0]))(x.reshape(5, 4))  # noqa: E731
    with pytest.raises(ValueError, match="batch axis of the maps of relu is not known"):
        jax.eval_shape(collect(fixed), W, X)
    with pytest.raises(TypeError, match="x must be an array, got 'x'"):
        unwrap(tap)("x", "relu")  # past the type checker
    for name, error in ((3, TypeError), ("", ValueError)):
        with pytest.raises(error, match="name must"):
            unwrap(tap)(X, name)


def test_maps_of_refuses_what_is_no_batch_of_maps():
    assert list(maps_of((X, X))) == ["0", "1"]
    with pytest.raises(ValueError, match="sown must hold activation maps, got none"):
        maps_of({})
    with pytest.raises(ValueError, match=r"got \(5, 4\) of 'stem' next to \(3, 4, 4\)"):
        maps_of({"stem": X, "blocks": (W,)})
    with pytest.raises(ValueError, match=r"got \(5, 4\) of 'stem' next to batch=2"):
        maps_of({"stem": X}, batch=2)
    assert activations.sparsity(maps_of({"a": X})).element == 0
