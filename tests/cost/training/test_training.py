"""Independent checks: loops in NumPy over all products of small layers."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun
from jax.sharding import AxisType

from dst_jax import cost
from dst_jax.activations import keep_top_k, sparsify_saved
from dst_jax.models.networks.depthwise import depthwise_conv

KEYS = jax.random.split(jax.random.key(0), 8)


def sparse(key, shape, density=0.5):
    values, draw = jax.random.split(key)
    kept = jax.random.bernoulli(draw, density, shape)
    return jnp.where(kept, jax.random.normal(values, shape), 0)


def training(loss, *args, **options):
    return jax.jit(lambda *args: cost.training(loss, **options)(*args))(*args)


def both(x):
    return x.sum(), x.sum()


def numbers(op):
    return tuple(map(int, op))


OPTIONS = {
    **{"strides": (2, 1), "padding": ((2, 1), (0, 2)), "groups": 2},
    **{"lhs_dilation": (1, 2), "rhs_dilation": (2, 1)},
}
"""Everything that a convolution can do."""


def conv(x, w):
    return jax.lax.conv_general_dilated(
        x,
        w,
        OPTIONS["strides"],
        OPTIONS["padding"],
        lhs_dilation=OPTIONS["lhs_dilation"],
        rhs_dilation=OPTIONS["rhs_dilation"],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=OPTIONS["groups"],
    )


def products_of(x, w, g, kept):
    """Every product of the convolution: input, weight and output elements, in loops."""
    per_group = w.shape[3] // OPTIONS["groups"]
    for n, y, v, i, j, c, k in itertools.product(*map(range, (*g.shape[:3], *w.shape))):
        at = [
            (out * stride + tap * step - low, dilation, size)
            for out, stride, tap, step, (low, _), dilation, size in zip(
                *((y, v), OPTIONS["strides"], (i, j), OPTIONS["rhs_dilation"]),
                *(OPTIONS["padding"], OPTIONS["lhs_dilation"], x.shape[1:3]),
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
def test_a_convolution_a_relu_and_a_product_equal_loops_over_all_products():
    """The gradient at the convolution's output is NumPy's, zero where ReLU stops it."""
    x, w = sparse(KEYS[0], (2, 5, 4, 4)), sparse(KEYS[1], (2, 3, 2, 6))
    size = conv(x, w)[0].size
    fc, c = sparse(KEYS[2], (size, 3), 0.1), sparse(KEYS[4], (2, 3))
    kept = {"conv": jax.random.bernoulli(KEYS[3], 0.4, w.shape), "fc": fc != 0}

    def loss(weights, x):
        h = jax.nn.relu(conv(weights["scale"] * x, weights["conv"])).reshape(2, -1)
        return ((h @ weights["fc"]) * c).sum(), h

    weights = {"conv": w, "fc": fc, "scale": jnp.ones((1, 1, 1, 4))}
    found = training(loss, weights, x, mask=kept, has_aux=True).as_dict()
    h = np.asarray(loss(weights, x)[1]) != 0
    g = (np.asarray(c) @ np.asarray(fc).T) * h
    g = g.reshape(conv(x, w).shape)
    arrays = map(np.asarray, (x, w, g, kept["conv"]))
    a, b, d, m = np.array(list(products_of(*arrays))).T
    assert {part: tuple(op.values()) for part, op in found["conv"].items()} == {
        "forward": numbers((len(a), a.sum(), b.sum(), len(a), *both(a & b))),
        "input_gradient": numbers((len(a), len(a), b.sum(), d.sum(), *both(b & d))),
        "weight_gradient": numbers(
            (len(a), a.sum(), m.sum(), d.sum(), (a & d & m).sum(), (a & d).sum())
        ),
    }
    h, fc, c = (np.asarray(v != 0, int) for v in (h, fc, c))
    effectual = {part: op["effectual"] for part, op in found["fc"].items()}
    assert effectual == {
        "forward": (h @ fc).sum(),
        "input_gradient": (c @ fc.T).sum(),
        "weight_gradient": ((h.T @ c) * fc).sum(),
    }


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


def totals(found):
    """The sums of every part over its operations."""
    return [np.sum([numbers(op) for op in part.values()], 0).tolist() for part in found]


@pytest.mark.slow
def test_of_branches_those_taken_are_counted():
    """Nested, of weights alone, where the other divides by 0: as without branches."""
    c, d = sparse(KEYS[2], (3, 4)), sparse(KEYS[5], (4, 4))

    def loss(w, x, branch):
        def wide(w, x):
            return jax.nn.relu(x @ w["a"]) @ w["b"]

        def narrow(w, x):
            return x @ (w["a"] * d) / x[2, 2].clip(max=0)

        def inner(w, x):
            return (branch(0, x, wide, narrow, w, x) * c) @ w["c"]

        last = branch(1, x, lambda w, _: w, lambda w, _: w @ w / (2 + w), w["o"], x)
        return (branch(2, x, inner, narrow, w, x) @ last).sum()

    def by_cond(i, x, then, otherwise, *operands):
        return jax.lax.cond(x[i, i] > 0, then, otherwise, *operands)

    w = {k: sparse(key, (4, 4), 0.7) for k, key in zip("abco", KEYS, strict=False)}
    mask = {name: leaf != 0 for name, leaf in w.items()}
    count = jax.jit(cost.training(partial(loss, branch=by_cond), mask=mask))
    for signs in [(1, -1, 1), (-1, 1, -1)]:

        def by_python(i, x, then, otherwise, *operands, signs=signs):
            return (then if signs[i] > 0 else otherwise)(*operands)

        x = sparse(KEYS[7], (3, 4)).at[(0, 1, 2), (0, 1, 2)].set(jnp.array(signs) * 1.0)
        expected = training(partial(loss, branch=by_python), w, x, mask=mask)
        assert totals(count(w, x)) == totals(expected)


@pytest.mark.slow
def test_groups_of_rows_are_counted_by_their_weights():
    """Experts: loops over rows, of which those past the last group meet nothing."""
    x, w = sparse(KEYS[0], (7, 4)), sparse(KEYS[1], (3, 4, 5), 0.6)
    c, kept = sparse(KEYS[2], (7, 5)), jax.random.bernoulli(KEYS[3], 0.5, w.shape)
    sizes, group = jnp.array([2, 0, 3]), [0, 0, 2, 2, 2]

    def loss(weights, x, sizes):
        y = jax.lax.ragged_dot(x * weights["s"], weights["w"], sizes)
        return (y * c).sum()

    weights = {"w": w, "s": jnp.ones((1, 4))}
    found = training(loss, weights, x, sizes, mask={"w": kept})
    rows = [
        (x[i, k] != 0, w[g, k, n] != 0, c[i, n] != 0, kept[g, k, n])
        for i, g in enumerate(group)
        for k, n in itertools.product(range(4), range(5))
    ]
    a, b, d, m = np.array(rows).T
    (forward,), (inputs,), (gradient,) = (list(part.values()) for part in found)
    assert numbers(forward) == numbers((len(a), a.sum(), b.sum(), len(a), *both(a & b)))
    assert numbers(inputs) == numbers((len(a), len(a), b.sum(), d.sum(), *both(b & d)))
    assert numbers(gradient) == numbers(
        (len(a), a.sum(), m.sum(), d.sum(), (a & d & m).sum(), (a & d).sum())
    )


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


def test_depthwise_sums_are_counted_as_convolutions(monkeypatch):
    """The models' own on one CPU have elementwise products, which are not counted."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

    def loss(w, x):
        maps = depthwise_conv(
            x * w["s"], w["k"], (1, 1), "SAME", feature_group_count=16, **options
        )
        return maps.sum()

    weights = {"k": jnp.ones((3, 3, 1, 16)), "s": jnp.ones((1, 1, 1, 16))}
    x = jax.ShapeDtypeStruct((64, 32, 32, 16), jnp.float32)
    assert "scan" in str(jax.make_jaxpr(jax.grad(loss))(weights, x))
    found = jax.eval_shape(cost.training(loss), weights, x)
    assert tuple(map(len, found)) == (1, 1, 1)
    gradient = jax.eval_shape(cost.count(jax.grad(loss)), weights, x)
    assert len(gradient) == 3


def test_what_was_traced_before_is_counted_as_convolutions():
    """A jit of the user's has its trace in JAX's cache, with elementwise products."""
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 2}

    @jax.jit
    def layer(w, x):
        return depthwise_conv(x * w["s"], w["k"], (1, 1), "SAME", sums=True, **options)

    def loss(w, x):
        return layer(w, x).sum()

    weights = {"k": jnp.ones((3, 3, 1, 2)), "s": jnp.ones((1, 1, 1, 2))}
    x, gradient = (
        jax.ShapeDtypeStruct((1, 4, 4, 2), jnp.float32),
        jax.jit(jax.grad(loss)),
    )
    program = str(jax.make_jaxpr(gradient)(weights, x))
    assert "scan" in program
    found = jax.eval_shape(cost.training(loss), weights, x)
    assert tuple(map(len, found)) == (1, 1, 1)
    assert len(jax.eval_shape(cost.count(gradient), weights, x)) == 3
    assert str(jax.make_jaxpr(gradient)(weights, x)) == program  # as before

    # A program that was traced before cannot be traced again: it is refused.
    args = jax.tree.leaves((weights, x))
    step, kept = (jax.make_jaxpr(fn)(weights, x) for fn in (gradient, loss))
    with pytest.raises(ValueError, match=r"'mul'.* was traced before"):
        jax.eval_shape(cost.count(jaxpr_as_fun(step)), *args)
    with pytest.raises(ValueError, match=r"'mul'.* was traced before"):
        jax.eval_shape(cost.training(lambda *a: jaxpr_as_fun(kept)(*a)[0]), *args)


def test_constants_and_masks_of_numpy_are_arrays_too():
    x, sizes = np.ones((5, 3), "f"), np.array([2, 3])

    def loss(w):
        return (
            jax.lax.ragged_dot(jnp.ones((5, 3)), w["w"], sizes).sum()
            + (x @ w["w"][0]).sum()
        )

    weights = {"w": np.ones((2, 3, 4), "f")}
    step = cost.training(loss, mask={"w": np.ones((2, 3, 4), bool)})
    assert len(jax.eval_shape(step, weights).weight_gradient) == 2


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
            lambda w, x: (
                (x @ w["a"]).sum()
                + jax.lax.while_loop(
                    lambda c: c.sum() < 9, lambda c: c @ jnp.eye(2), jnp.ones((2, 2))
                ).sum()
            ),
            None,
            "'while' .JAX has no reverse-mode derivative",
        ),
        (
            lambda w, x: jax.shard_map(
                lambda w, x: jax.lax.psum((x @ w).sum(), "i"),
                mesh=jax.make_mesh((1,), ("i",), (AxisType.Auto,)),
                in_specs=(jax.P(), jax.P("i")),
                out_specs=jax.P(),
            )(w["a"], x),
            None,
            "'shard_map' .its program is that of one device",
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
