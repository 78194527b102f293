"""Independent checks: loops in NumPy over all products of small layers."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost
from dst_jax.activations import keep_top_k, sparsify_saved

KEYS = jax.random.split(jax.random.key(0), 8)


def sparse(key, shape, density=0.5):
    values, draw = jax.random.split(key)
    kept = jax.random.bernoulli(draw, density, shape)
    return jnp.where(kept, jax.random.normal(values, shape), 0)


def training(loss, *args, mask=None):
    return jax.jit(lambda *args: cost.training(loss, mask=mask)(*args))(*args)


def both(x):
    return x.sum(), x.sum()


def numbers(op):
    return tuple(map(int, op))


CONVS = {
    "strided": {"strides": (2, 3), "padding": ((2, 1), (1, 0))},
    "dilated": {"padding": ((0, 1), (2, 2)), "rhs_dilation": (2, 1)},
    "transposed": {"padding": ((1, 2), (1, 1)), "lhs_dilation": (2, 1)},
    "grouped": {"strides": (2, 1), "padding": ((0, 0), (1, 1)), "groups": 2},
}


def conv(x, w, *, strides=(1, 1), padding, groups=1, **dilation):
    return jax.lax.conv_general_dilated(
        x,
        w,
        strides,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        **dilation,
    )


def products_of(x, w, g, kept, options):
    """Every product of the convolution: input, weight and output elements, in loops."""
    strides = options.get("strides", (1, 1))
    spread = options.get("lhs_dilation", (1, 1))
    apart = options.get("rhs_dilation", (1, 1))
    per_group = w.shape[3] // options.get("groups", 1)
    for n, y, v, i, j, c, k in itertools.product(*map(range, (*g.shape[:3], *w.shape))):
        at = [
            (out * stride + tap * step - low, dilation, size)
            for out, stride, tap, step, (low, _), dilation, size in zip(
                *((y, v), strides, (i, j), apart),
                *(options["padding"], spread, x.shape[1:3]),
                strict=True,
            )
        ]
        if all(p >= 0 and p % d == 0 and p // d < size for p, d, size in at):
            row, column = (p // d for p, d, _ in at)
            channel = k // per_group * w.shape[2] + c
            yield (
                x[n, row, column, channel] != 0,
                w[i, j, c, k] != 0,
                g[n, y, v, k] != 0,
                bool(kept[i, j, c, k]),
            )


@pytest.mark.slow
def test_convolutions_equal_loops_over_all_products():
    """Of all kinds, in one loss, so that it compiles once."""
    x = sparse(KEYS[0], (2, 5, 4, 4))
    w, g, kept = {}, {}, {}
    for name, options in CONVS.items():
        w[name] = sparse(KEYS[1], (2, 3, 4 // options.get("groups", 1), 4))
        g[name] = sparse(KEYS[2], conv(x, w[name], **options).shape)
        kept[name] = jax.random.bernoulli(KEYS[3], 0.4, w[name].shape)

    def loss(weights, x, g):
        maps = weights["scale"] * x
        found = [
            (conv(maps, weights[name], **options) * g[name]).sum()
            for name, options in CONVS.items()
        ]
        return sum(found)

    weights = w | {"scale": jnp.ones((1, 1, 1, 4))}
    found = training(loss, weights, x, g, mask=kept | {"scale": None}).as_dict()
    for name, options in CONVS.items():
        arrays = map(np.asarray, (x, w[name], g[name], kept[name]))
        a, b, c, m = np.array(list(products_of(*arrays, options))).T
        assert {part: tuple(op.values()) for part, op in found[name].items()} == {
            "forward": numbers((len(a), a.sum(), b.sum(), len(a), *both(a & b))),
            "input_gradient": numbers((len(a), len(a), b.sum(), c.sum(), *both(b & c))),
            "weight_gradient": numbers(
                (len(a), a.sum(), m.sum(), c.sum(), (a & c & m).sum(), (a & c).sum())
            ),
        }


def test_gradients_that_relu_stops_count_as_zeros():
    """A network of two layers: the gradients are NumPy's own."""
    x, w1 = sparse(KEYS[0], (6, 5)), sparse(KEYS[1], (5, 7))
    w2 = sparse(KEYS[2], (7, 3))
    c = sparse(KEYS[4], (6, 3))

    def loss(weights, x):
        return ((jax.nn.relu(x @ weights["a"]) @ weights["b"]) * c).sum()

    mask = {"a": w1 != 0}
    found = training(loss, {"a": w1, "b": w2}, x, mask=mask).as_dict()
    x, w1, w2, c = (np.asarray(v, np.float64) for v in (x, w1, w2, c))
    hidden = np.maximum(x @ w1, 0)
    g1 = (c @ w2.T) * (hidden > 0)

    def pairs(a, b):
        return int(((a != 0).astype(int) @ (b != 0).astype(int)).sum())

    def kept(a, g, w):
        return int((((a != 0).T.astype(int) @ (g != 0).astype(int)) * (w != 0)).sum())

    assert found["a"]["forward"]["effectual"] == pairs(x, w1)
    assert "input_gradient" not in found["a"]  # x is data
    assert found["a"]["weight_gradient"]["all_weights"] == pairs(x.T, g1)
    assert found["a"]["weight_gradient"]["effectual"] == kept(x, g1, w1)
    assert found["b"]["input_gradient"]["effectual"] == pairs(c, w2.T)
    assert found["b"]["weight_gradient"]["effectual"] == pairs(hidden.T, c)


def attention(w, x):
    q, k, v = (x @ w[name] for name in "qkv")
    return (jax.nn.softmax(q @ k.T) @ v @ w["o"]).sum()


def low_rank(w, x):
    return (jax.nn.relu(x @ (w["a"] @ w["b"])) @ w["c"]).sum()


def tied(w, x):
    return (jax.nn.relu(x @ w["a"]) @ w["a"].T).sum()


SQUARE = {name: jnp.ones((4, 4)) for name in "abcqkvo"}


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        (attention, (6, 5, 4)),  # two products of activations have two such gradients
        (low_rank, (3, 1, 4)),  # the product of weights has gradients of weights
        (tied, (2, 1, 2)),
    ],
)
def test_products_are_told_apart(loss, parts):
    found = jax.eval_shape(cost.training(loss), SQUARE, jnp.ones((3, 4)))
    assert tuple(map(len, found)) == parts


def test_what_remat_computes_again_counts_again():
    def loss(w, x, wrap):
        block = wrap(lambda h, w: jax.nn.relu(h @ w))
        return block(block(x, w["a"]), w["b"]).sum()

    once, twice = (
        jax.eval_shape(
            cost.training(partial(loss, wrap=wrap)), SQUARE, jnp.ones((3, 4))
        )
        for wrap in (lambda f: f, jax.checkpoint)
    )
    assert tuple(map(len, once)) == (2, 1, 2)
    assert tuple(map(len, twice)) == (4, 1, 2)


def test_a_scan_is_its_iterations():
    w, x = sparse(KEYS[0], (2, 4, 4)), sparse(KEYS[1], (5, 4))

    def looped(w, x):
        for layer in w:
            x = jax.nn.relu(x @ layer)
        return x.sum()

    def scanned(w, x):
        return jax.lax.scan(lambda x, w: (jax.nn.relu(x @ w), None), x, w)[0].sum()

    one, other = (
        jax.eval_shape(cost.training(loss, mask=w != 0), w, x)
        for loss in (looped, scanned)
    )
    assert tuple(map(len, one)) == tuple(map(len, other)) == (2, 1, 2)


def test_swat_is_counted_as_it_is_written():
    """Weights' largest forward and backward, saved activations' largest backward."""
    x, w = jax.random.normal(KEYS[0], (6, 10)), jax.random.normal(KEYS[1], (10, 8))
    c = jnp.ones((6, 8))
    keep = partial(keep_top_k, k=2)

    def loss(weights, x):
        largest = weights["w"] * (abs(weights["w"]) > 1)
        h = sparsify_saved(jnp.matmul, keep)(x * weights["s"], largest)
        return (h * c).sum()

    found = training(loss, {"w": w, "s": jnp.ones((1, 10))}, x)
    (forward,), (inputs,), (gradient,) = (list(part.values()) for part in found)
    d_w = int((abs(w) > 1).sum())
    assert int(forward.effectual) == 6 * d_w == int(inputs.effectual)
    assert int(gradient.effectual) == 6 * 2 * 8  # F times the density of what is saved


def test_names_are_those_of_the_leaves_where_the_program_has_none():
    found = jax.eval_shape(cost.training(low_rank), SQUARE, jnp.ones((2, 4)))
    assert "c" in found.forward
    assert "c" in found.weight_gradient
    assert list(found.input_gradient) == ["c"]


@pytest.mark.parametrize(
    ("loss", "mask", "words"),
    [
        (lambda w, x: x @ w["a"], None, "loss must return a scalar"),
        (lambda w, x: (x @ w["a"]).sum(), {"z": jnp.ones(2)}, r"mask names \['z'\]"),
        (
            lambda w, x: jax.lax.cond(
                x[0, 0] > 0, lambda: (x @ w["a"]).sum(), lambda: 0.0
            ),
            None,
            "cannot count the multiplications of 'cond'",
        ),
        (lambda w, x: jnp.linalg.cholesky(w["a"]).sum(), None, "'cholesky'"),
    ],
)
def test_refuses(loss, mask, words):
    with pytest.raises(ValueError, match=words):
        cost.training(loss, mask=mask)({"a": jnp.eye(4)}, jnp.ones((2, 4)))


def test_more_than_a_float_holds_is_refused():
    x = jax.ShapeDtypeStruct((2**24 + 1, 1), jnp.float32)
    w = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    step = cost.training(lambda w, x: (x @ w).sum(), mask=jnp.ones((1, 1), bool))
    with pytest.raises(ValueError, match=r"at most 2\^24 products"):
        jax.eval_shape(step, w, x)
