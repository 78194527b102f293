"""Kernels by what plain functions do with their weights."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from dst_jax import kernels
from dst_jax.kernels import Kernel

W, X = jnp.ones((4, 6)), jnp.ones((3, 4))
STACK = jnp.ones((5, 4, 4))
IN_OUT, OUT_IN = Kernel(inputs=(0,), outputs=(1,)), Kernel(inputs=(1,), outputs=(0,))
LAYERS = Kernel(stack=(0,), inputs=(1,), outputs=(2,))
NHWC = ("NHWC", "HWIO", "NHWC")


def found(fn: Any, *args: Any, weights: int | tuple[int, ...] = 0) -> kernels.Kernels:
    return kernels.by_use(fn, weights=weights)(*args)


def conv(x: Any, w: Any, **options: Any) -> Any:
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=NHWC, **options
    )


@jax.custom_vjp
def straight_through(w: Any) -> Any:
    return jnp.where(jnp.abs(w) > 0.1, w, 0)


straight_through.defvjp(lambda w: (straight_through(w), None), lambda _, g: (g,))

# What may happen to a kernel before it is multiplied.
WAYS = {
    "nothing": lambda w: w,
    "scalar": lambda w: 2 * w / 3,
    "cast": lambda w: w.astype(jnp.bfloat16).astype(jnp.float32),
    "precision": lambda w: lax.reduce_precision(w, 8, 7),
    "constant mask": lambda w: w * (jnp.arange(24).reshape(4, 6) % 2),
    "own mask": lambda w: jnp.where(jnp.abs(w) > 0.5, w, 0),
    "magnitude": lambda w: jnp.where(
        jnp.abs(w) > jnp.quantile(jnp.abs(w), 0.5), w, jnp.zeros_like(w)
    ),
    "standardised": lambda w: (
        (w - w.mean(0, keepdims=True)) / jnp.sqrt(w.var(0, keepdims=True) + 1e-5)
    ),
    "norm": lambda w: w / jnp.linalg.norm(w),
    "clipped": lambda w: jnp.clip(w, -1, 1),
    "reversed": lambda w: w[::-1, ::-1],
    "rolled": lambda w: jnp.roll(w, 1, axis=0),
    "set": lambda w: w.at[0, 0].set(0.0).at[1].add(1.0),
    "updated": lambda w: lax.dynamic_update_slice(w, jnp.zeros((1, 6)), (0, 0)),
    "padded": lambda w: jnp.pad(w, ((1, 0), (0, 2)))[1:, :6],
    "expanded": lambda w: w[None, :, None].squeeze((0, 2)),
    "flattened": lambda w: w.ravel().reshape(4, 6),
    "split": lambda w: w.reshape(2, 2, 3, 2).reshape(4, 6),
    "barrier": lambda w: lax.optimization_barrier((w, w * 2))[1],
    "stopped": lax.stop_gradient,
    "jit": jax.jit(lambda w: w * 2),
    "remat": jax.checkpoint(lambda w: jnp.sin(w)),
    "custom jvp": jax.nn.relu,
    "custom vjp": straight_through,
    "loop": lambda w: lax.fori_loop(0, 3, lambda _, a: a * 2, w),
    "mapped": lambda w: lax.map(lambda row: row / 2, w),
    "vmapped": lambda w: jax.vmap(lambda column: column / 2, in_axes=1, out_axes=1)(w),
    "branch": lambda w: lax.cond(w[0, 0] > 0, lambda w: w, lambda w: -w, w),
    "mask by einsum": lambda w: jnp.einsum("io,io->io", w, jnp.eye(4, 6)),
    "parts": lambda w: jnp.concatenate([w[:1], w[1:]]),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_kernel_is_followed_to_its_product(way):
    result = found(lambda w, x: x @ way(w), W, X)
    assert result == {"": IN_OUT}
    assert result.conflicts == {}


PRODUCTS = {
    "vector": (lambda w, x: x[0] @ w, W, IN_OUT),
    "left": (lambda w, x: w @ x.T, W.T, OUT_IN),
    "transposed": (lambda w, x: x @ w.T, W.T, OUT_IN),
    "one output": (lambda w, x: x @ w, jnp.ones(4), Kernel(inputs=(0,))),
    "heads": (
        lambda w, x: jnp.einsum("bi,ihd->bhd", x, w),
        jnp.ones((4, 2, 3)),
        Kernel(inputs=(0,), outputs=(1, 2)),
    ),
    "heads first": (
        lambda w, x: jnp.einsum("bi,hid->bhd", x, w),
        jnp.ones((2, 4, 3)),
        Kernel(inputs=(1,), outputs=(0, 2)),
    ),
    "heads contracted": (
        lambda w, x: jnp.einsum("bhd,hdo->bo", x.reshape(3, 2, 2), w),
        jnp.ones((2, 2, 5)),
        Kernel(inputs=(0, 1), outputs=(2,)),
    ),
    "heads merged": (
        lambda w, x: x @ w.reshape(4, 6),
        jnp.ones((4, 2, 3)),
        Kernel(inputs=(0,), outputs=(1, 2)),
    ),
    "heads apart": (
        lambda w, x: jnp.einsum("bhi,hio->bho", x.reshape(3, 2, 2), w),
        jnp.ones((2, 2, 5)),
        LAYERS,
    ),
    "one of a stack": (lambda w, x: x @ w[0] + x @ w[1], STACK, LAYERS),
    "unstacked": (lambda w, x: sum(x @ v for v in jnp.unstack(w)), STACK, LAYERS),
    "iterated": (
        lambda w, x: lax.fori_loop(0, 5, lambda i, h: h @ w[i], x),
        STACK,
        LAYERS,
    ),
    "scanned": (
        lambda w, x: lax.scan(lambda h, v: (h @ v, None), x, w)[0],
        STACK,
        LAYERS,
    ),
    "scanned twice": (
        lambda w, x: lax.scan(
            lambda h, v: (h @ v, None), x, lax.map(lambda v: v / v.sum(), w)
        )[0],
        STACK,
        LAYERS,
    ),
    "in a while loop": (
        lambda w, x: lax.while_loop(
            lambda c: c[1] < x.sum(), lambda c: (c[0] @ w, c[1] + 1), (x, 0)
        )[0],
        STACK[0],
        IN_OUT,
    ),
    "in the test of a loop": (
        lambda w, x: lax.while_loop(lambda n: (x @ w).sum() < n, lambda n: n - 1, 9),
        W,
        IN_OUT,
    ),
    "window": (
        conv_of := lambda w, x: conv(jnp.ones((1, 8, 8, 4)), w),
        jnp.ones((3, 3, 4, 6)),
        Kernel(window=(0, 1), inputs=(2,), outputs=(3,)),
    ),
    "window from a matrix": (
        lambda w, x: conv_of(w.reshape(3, 3, 4, 6), x),
        jnp.ones((36, 6)),
        IN_OUT,
    ),
    "window as outputs": (
        lambda w, x: jnp.einsum("bi,hwio->bhwo", x, w),
        jnp.ones((2, 2, 4, 6)),
        Kernel(inputs=(2,), outputs=(0, 1, 3)),
    ),
    "groups": (
        lambda w, x: conv(jnp.ones((1, 8, 8, 4)), w, feature_group_count=2),
        jnp.ones((3, 3, 2, 6)),
        Kernel(window=(0, 1), inputs=(2,), outputs=(3,), groups=2),
    ),
    "depthwise with a multiplier": (
        lambda w, x: conv(
            jnp.ones((1, 8, 8, 4)), w.reshape(3, 3, 1, 8), feature_group_count=4
        ),
        jnp.ones((3, 3, 4, 2)),
        Kernel(window=(0, 1), outputs=(2, 3), groups=4),
    ),
    "groups of the batch": (
        lambda w, x: conv(jnp.ones((4, 8, 8, 2)), w, batch_group_count=2),
        jnp.ones((3, 3, 2, 6)),
        Kernel(window=(0, 1), inputs=(2,), outputs=(3,), groups=2),
    ),
    "an image of weights": (
        lambda w, x: conv(w, jnp.ones((3, 3, 4, 6)) * x[0, 0]),
        jnp.ones((5, 8, 8, 4)),
        Kernel(window=(1, 2), inputs=(3,), outputs=(0,)),
    ),
    "modulated by example": (
        lambda w, x: jax.vmap(lambda s: conv(jnp.ones((1, 8, 8, 4)) * s.sum(), w * s))(
            x[:, None, None, :, None]
        ),
        jnp.ones((3, 3, 4, 6)),
        Kernel(window=(0, 1), inputs=(2,), outputs=(3,)),
    ),
    "empty": (lambda w, x: x @ w, jnp.ones((4, 0)), IN_OUT),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_axes_are_what_the_product_makes_of_them(name):
    fn, w, kernel = PRODUCTS[name]
    assert found(fn, w, X) == {"": kernel}
    # A constant as input, and shapes in place of arrays.
    assert found(lambda w: fn(w, X), w) == {"": kernel}
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (w, X))
    assert found(fn, *shapes) == {"": kernel}


OTHERS = {
    "bias": lambda p, x: x @ p["w"] + p["v"][:, None].T,
    "scale of outputs": lambda p, x: (x @ p["w"]) * p["v"][None],
    "scale of inputs": lambda p, x: (x * p["u"][None]) @ p["w"],
    "scale of one input": lambda p, x: (x[:1] * p["u"][None]) @ p["w"],
    "position": lambda p, x: (x + p["x"]) @ p["w"],
    "position of one input": lambda p, x: (x[:1] + p["x"][:1]) @ p["w"],
    "scale of the kernel": lambda p, x: x @ (p["w"] * p["v"][None]),
    "threshold of inputs": lambda p, x: x @ jnp.where(p["w"] > p["u"][:, None], 1.0, 0),
    "low rank update": lambda p, x: x @ (p["w"] + p["a"] @ p["b"]),
    "scale of queries and keys": lambda p, x: (
        (x @ p["w"] * p["v"][None]) @ (x @ p["w"] * p["v"][None]).T
    ),
    "channels by einsum": lambda p, x: jnp.einsum("bc,c->bc", x @ p["w"], p["v"]),
    "scale by einsum": lambda p, x: jnp.einsum("bi,io,i->bo", x, p["w"], p["u"]),
    "scale of the kernel by einsum": lambda p, x: (
        x @ jnp.einsum("io,i->io", p["w"], p["u"])
    ),
    "scale of a constant": lambda p, x: (
        jnp.einsum("bi,i->bi", jnp.full_like(x, 2.0), p["u"]) @ p["w"]
    ),
    "outer product": lambda p, x: jnp.einsum("b,c->bc", (x @ p["w"]).sum(1), p["v"]),
    "norm": lambda p, x: (
        x @ p["w"] + jnp.vdot(p["w"], p["w"]) + jnp.vdot(p["u"], p["u"])
    ),
    "looked up": lambda p, x: (
        x @ p["w"] + p["w"].sum() * p["x"][jnp.array([0, 1])].sum()
    ),
}


@pytest.mark.parametrize("fn", OTHERS.values(), ids=OTHERS)
def test_what_is_not_multiplied_and_contracted_is_no_kernel(fn):
    p = {"w": W, "u": jnp.ones(4), "v": jnp.ones(6), "x": X}
    p |= {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 6))}
    assert found(fn, p, X) == {"w": IN_OUT}


def test_a_mask_may_be_a_leaf_data_or_another_argument():
    def masked(p, mask, x):
        return x @ jnp.where(mask, p["w"], 0)

    p = {"w": W}
    assert found(masked, p, W > 0, X) == {"w": IN_OUT}
    both = found(masked, p, W > 0, X, weights=(0, 1))
    assert both == {"0/w": IN_OUT}
    assert both.leaves == ("0/w", "1")
    assert both.find("w") == IN_OUT
    # The activation holds a leaf too, and neither side is of weights alone.
    both = found(
        lambda p, m, x: (x + p["x"]) @ (p["kernel"] * m),
        {"kernel": W, "x": X},
        W,
        X,
    )
    assert both == {"kernel": IN_OUT}


def test_noise_on_weights():
    def dropped(w, key, x):
        return x @ (w * jax.random.bernoulli(key, 0.5, w.shape))

    assert found(dropped, W, jax.random.key(0), X) == {"": IN_OUT}

    def sampled(p, key, x):
        noise = jax.random.normal(key, p["mean"].shape)
        return x @ (p["mean"] + jax.nn.softplus(p["rho"]) * noise)

    p = {"mean": W, "rho": W}
    assert found(sampled, p, jax.random.key(0), X) == dict.fromkeys(p, IN_OUT)


def test_several_leaves_in_one_product_are_kernels_each():
    p = {"q": W, "k": W, "v": W}
    fused = found(lambda p, x: x @ jnp.concatenate([*p.values()], 1), p, X)
    assert fused == dict.fromkeys(p, IN_OUT)
    stacked = found(
        lambda p, x: lax.scan(lambda h, w: (h @ w, None), x, jnp.stack(p))[0],
        [STACK[0]] * 3,
        X,
    )
    assert stacked == dict.fromkeys("012", IN_OUT)
    chosen = found(
        lambda p, x: x @ lax.cond(x[0, 0] > 0, lambda: p["q"], lambda: p["k"]), p, X
    )
    assert chosen == dict.fromkeys("qk", IN_OUT)


def test_factors_of_a_kernel_are_kernels():
    p = {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 6))}
    for fn in (lambda p, x: x @ (p["a"] @ p["b"]), lambda p, x: x @ p["a"] @ p["b"]):
        assert found(fn, p, X) == {"a": IN_OUT, "b": IN_OUT}
    swapped = found(
        lambda p, x: (p["b"] @ p["a"]) @ x.T, jax.tree.map(jnp.transpose, p), X
    )
    assert swapped == {"a": OUT_IN, "b": OUT_IN}


def test_learned_queries_are_activations():
    def attend(p, x):
        q = jnp.einsum("nd,dhe->nhe", p["latents"], p["query"]["kernel"])
        k = jnp.einsum("nd,dhe->nhe", x, p["key"]["kernel"])
        return jnp.einsum("nhe,mhe->hnm", q, k)

    heads = {"kernel": jnp.ones((4, 2, 3))}
    p = {"latents": jnp.ones((7, 4)), "query": heads, "key": heads}
    kernel = Kernel(inputs=(0,), outputs=(1, 2))
    assert found(attend, p, X) == {"key/kernel": kernel, "query/kernel": kernel}


def test_the_first_use_decides_and_others_are_listed():
    tied = found(lambda w, x: jax.nn.relu(x @ w) @ w.T, W, X)
    assert tied == {"": IN_OUT}
    assert tied.conflicts == {"": (OUT_IN,)}
    gradient = found(
        jax.grad(lambda p, x: jnp.square(jax.nn.relu(x @ p["a"]) @ p["b"]).sum()),
        {"a": W, "b": W.T},
        X,
    )
    assert gradient == {"a": IN_OUT, "b": IN_OUT}
    assert gradient.conflicts == {"b": (OUT_IN,)}


def test_a_use_by_data_decides_before_one_by_weights():
    def spectral(p, x):
        u = p["u"] @ p["w"].T  # a power iteration
        return x @ (p["w"] / jnp.linalg.norm(u))

    result = found(spectral, {"u": jnp.ones((1, 6)), "w": W}, X)
    assert result == {"w": IN_OUT}
    assert result.conflicts == {"w": (OUT_IN,)}


@pytest.mark.parametrize("tokens", [jnp.zeros(3, int), jnp.zeros((), int)])
def test_a_leaf_that_is_looked_up_is_no_kernel(tokens):
    def tied(p, tokens):
        h = jnp.atleast_2d(p["embed"][tokens]) @ p["fc"]
        return h @ p["embed"].T

    p = {"embed": jnp.ones((9, 4)), "fc": STACK[0]}
    assert found(tied, p, tokens) == {"fc": IN_OUT}
    one_hot = found(lambda p, t: jax.nn.one_hot(t, 9) @ p["embed"], p, tokens)
    assert one_hot == {"embed": IN_OUT}


def test_a_vector_of_all_parameters_has_no_axes_of_kernels():
    def net(flat, x):
        return jax.nn.relu(x @ flat[:24].reshape(4, 6)) @ flat[24:].reshape(6, 2)

    result = found(net, jnp.ones(36), X)
    assert result == {}
    assert result.leaves == ("",)


def test_only_float_leaves_are_kernels():
    def quantised(p, x):
        return x @ (p["q"].astype(jnp.float32) * p["scale"])

    assert found(quantised, {"q": W.astype(jnp.int8), "scale": W[:1]}, X) == {}
    with pytest.raises(ValueError, match="fc/kernel is a kernel of type complex64"):
        found(lambda p, x: x @ p["fc"]["kernel"], {"fc": {"kernel": W + 0j}}, X)
    assert found(lambda w, i: w[i], W + 0j, jnp.zeros(3, int)) == {}
    parts = found(
        lambda p, x: x @ lax.complex(p["re"], p["im"]), {"re": W, "im": W}, X + 0j
    )
    assert parts == {"re": IN_OUT, "im": IN_OUT}


def test_leaves_under_auxiliary_names_are_no_kernels():
    p = {"DyReLU_0": {"Dense_0": {"kernel": W}}, "gates": {"w": W}, "fc": W}
    result = found(lambda p, x: sum(x @ w for w in jax.tree.leaves(p)), p, X)
    assert result == {"fc": IN_OUT}


def test_experts_of_a_ragged_product_are_a_stack():
    def ragged(p, x):
        return lax.ragged_dot(x, p["experts"], jnp.array([1, 2]))

    result = found(ragged, {"experts": jnp.ones((2, 4, 6))}, X)
    assert result == {"experts": LAYERS}


def test_a_product_that_is_not_followed_is_refused():
    @jax.custom_batching.custom_vmap
    def own(w, x):
        return x @ w

    own.def_vmap(lambda size, mapped, w, x: (x @ w, True))

    with pytest.raises(
        ValueError, match="cannot follow the array into 'custom_vmap_call'"
    ):
        found(own, W, X)
    assert found(lambda w, x: own(STACK[0], x) @ w, W, X) == {"": IN_OUT}


def test_weights_are_positions_of_arguments():
    assert found(lambda x, w: x @ w["fc"], X, {"fc": W}, weights=1) == {"fc": IN_OUT}
    two = found(lambda a, x, b: x @ a @ b, W, X, W.T, weights=(0, 2))
    assert two == {"0": IN_OUT, "2": IN_OUT}
    with pytest.raises(ValueError, match="below the number of positional arguments"):
        found(lambda w: w, W, weights=1)
    with pytest.raises(ValueError, match="which holds no arrays"):
        found(lambda w, x: x, {}, X)
    with pytest.raises(ValueError, match="must be argument positions >= 0, got -1"):
        kernels.by_use(lambda w: w, weights=-1)


def test_leaves_that_are_no_arrays_stay_as_they_are():
    def fn(p, *, x, train):
        assert train is True
        return p["activation"](x @ p["w"]), p["name"]

    p = {"activation": jax.nn.relu, "name": "fc", "none": None, "w": W}
    result = kernels.by_use(fn)(p, x=X, train=True)
    assert result == {"w": IN_OUT}
    assert result.leaves == ("activation", "name", "w")


def test_nothing_is_computed():
    def fn(w, x):
        return x @ w + jax.pure_callback(pytest.fail, w[0], w[0])[None]

    large = jax.ShapeDtypeStruct((1 << 20, 1 << 20), jnp.float32)
    x = jax.ShapeDtypeStruct((8, 1 << 20), jnp.float32)
    assert found(fn, large, x) == {"": IN_OUT}


@pytest.mark.parametrize("gather", [False, True])
def test_inside_shard_map(gather):
    mesh = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec
    if gather:

        def local(w, x):
            return x @ lax.all_gather(w, "d", tiled=True)

        specs = {"in_specs": (spec("d"), spec("d")), "out_specs": spec("d")}
    else:

        def local(w, x):
            return lax.psum(x @ w, "d")

        specs = {"in_specs": (spec("d"), spec(None, "d")), "out_specs": spec()}
    assert found(jax.shard_map(local, mesh=mesh, **specs), W, X) == {"": IN_OUT}


def _mapped(layer: Any, w: Any, x: Any, *, shared: bool) -> Any:
    if shared:
        return jax.vmap(functools.partial(layer, x=x))(w)
    return jax.vmap(lambda w, x: layer(w, x=x))(w, jnp.stack([x] * 5))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((4, 6), 1),
        ((3, 3, 4, 6), 1),
        ((3, 3, 4, 1), 1),
        ((3, 3, 1, 4), 4),
        ((3, 3, 1, 8), 4),
        ((3, 3, 2, 6), 2),
    ],
)
def test_layers_of_a_vmap_are_a_stack(shape, groups, shared):
    image = jnp.ones((2, 8, 8, 4))

    def layer(w, x):
        if len(shape) == 2:
            return jnp.einsum("bhwi,io->bhwo", x, w)
        return conv(x, w, feature_group_count=groups)

    one = found(lambda w, x: layer(w, x=x), jnp.ones(shape), image)[""]
    fn = functools.partial(_mapped, layer, shared=shared)
    many = found(fn, jnp.ones((5, *shape)), image)[""]
    moved = (
        tuple(i + 1 for i in axes) for axes in (one.window, one.inputs, one.outputs)
    )
    assert many == Kernel((0,), *moved, groups=groups)


def test_a_vmap_over_data_makes_no_stack():
    def attention(p, x):
        heads = jnp.einsum("bi,hid->bhd", x, p["q"])
        return jnp.einsum("bhd,hdo->bo", heads, p["o"])

    p = {"q": jnp.ones((2, 4, 6)), "o": jnp.ones((2, 6, 4))}
    result = found(jax.vmap(attention, in_axes=(None, 0)), p, X[None])
    assert result["q"] == Kernel(inputs=(1,), outputs=(0, 2))
    assert result["o"] == Kernel(inputs=(0, 1), outputs=(2,))


def test_leaves_of_one_path_are_refused():
    weights = {"a/b": jnp.ones((2, 2)), "a": {"b": jnp.ones((2, 2))}}
    with pytest.raises(ValueError, match=r"several leaves at \['a/b'\]"):
        kernels.by_use(lambda w, x: x @ w["a/b"])(weights, jnp.ones((1, 2)))
