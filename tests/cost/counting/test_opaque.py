"""What cannot be counted: refused by name, listed on request, or given a rule."""

from inspect import unwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg
import jax.scipy.signal
import numpy as np
import pytest
from jax.experimental import pallas
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive, primitives
from jax.interpreters import batching, mlir

from dst_jax import cost, kernels
from dst_jax.jaxprs import calls

W = jnp.array([[1.0, 0.0], [2.0, 3.0]])
X = jnp.array([[1.0, 0.0], [0.0, 0.0], [4.0, 5.0]])


def primitive(name):
    """A primitive from outside that multiplies matrices."""
    found = Primitive(name)
    found.def_impl(jnp.dot)
    found.def_abstract_eval(
        lambda x, w: jax.core.ShapedArray((x.shape[0], w.shape[1]), x.dtype)
    )
    mlir.register_lowering(found, mlir.lower_fun(jnp.dot, multiple_results=False))
    batching.primitive_batchers[found] = lambda args, axes: (
        jax.vmap(jnp.dot, axes)(*args),
        0,
    )
    return found


UNKNOWN, KNOWN = primitive("unknown_dot"), primitive("known_dot")


@pytest.fixture
def rule():
    cost.register(KNOWN, lambda x, w: x @ w)


def own(w, x):
    with jax.named_scope("block"):
        return UNKNOWN.bind(x, w)


def matmul(w, x):
    return x @ w


NOT_COUNTED = {
    "fft": lambda w, x: jnp.fft.fft(x),
    "fft of a product": lambda w, x: jnp.fft.irfft2(jnp.fft.rfft2(x @ w)),
    "fftconvolve": lambda w, x: jax.scipy.signal.fftconvolve(x, w),
    "inv": lambda w, x: x @ jnp.linalg.inv(w),
    "solve": lambda w, x: jnp.linalg.solve(w, x.T),
    "pinv": lambda w, x: jnp.linalg.pinv(w),
    "lstsq": lambda w, x: jnp.linalg.lstsq(w, x.T)[0],
    "det": lambda w, x: jnp.linalg.det(jnp.tile(w, (2, 2))),
    "qr": lambda w, x: jnp.linalg.qr(w)[0],
    "svd": lambda w, x: jnp.linalg.svd(x @ w)[1],
    "eigh": lambda w, x: jnp.linalg.eigh(w)[0],
    "eig": lambda w, x: jnp.linalg.eig(w)[0],
    "cholesky": lambda w, x: jnp.linalg.cholesky(w),
    "lu": lambda w, x: jax.scipy.linalg.lu(w)[1],
    "cho_solve": lambda w, x: jax.scipy.linalg.cho_solve((w, True), x.T),
    "triangular": lambda w, x: jax.scipy.linalg.solve_triangular(w, x.T),
    "expm": lambda w, x: jax.scipy.linalg.expm(w),
    "sqrtm": lambda w, x: jax.scipy.linalg.sqrtm(w),
    "schur": lambda w, x: jax.scipy.linalg.schur(w)[0],
    "hessenberg": lambda w, x: jax.scipy.linalg.hessenberg(w),
    "tridiagonal": lambda w, x: jax.lax.linalg.tridiagonal_solve(
        w[0], w[1], w[0], x.T[:, :1]
    ),
    "pure_callback": lambda w, x: jax.pure_callback(np.dot, X, x, w),
    "a primitive from outside": own,
}


@pytest.mark.parametrize("transform", ["count", "profile", "surrogate"])
@pytest.mark.parametrize("name", NOT_COUNTED)
def test_nothing_that_may_multiply_is_passed_over(name, transform):
    analysis = getattr(cost, transform)(NOT_COUNTED[name])
    with pytest.raises(ValueError, match="cannot count the multiplications of '"):
        jax.eval_shape(analysis, W, X)


@pytest.mark.parametrize(
    "fn",
    [
        lambda w, x: x * w.sum() + jnp.cumsum(x, 0) + jnp.prod(x),
        lambda w, x: jnp.sort(x) + jax.random.normal(jax.random.key(0), x.shape),
        lambda w, x: jax.nn.gelu(x) + jax.lax.map(jnp.sin, x),
        lambda w, x: jax.debug.print("{}", x[0, 0]),
    ],
)
def test_what_multiplies_no_matrices_counts_nothing(fn):
    assert cost.count(fn)(W, X) == {}


def test_a_primitive_from_outside_is_named_with_its_module():
    message = "multiplications of 'unknown_dot' in block: it counts"
    for fn in (own, jax.jit(own), jax.checkpoint(own)):
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(cost.count(fn), W, X)
    with pytest.raises(ValueError, match="cannot follow the array into 'unknown_dot'"):
        kernels.by_use(own)(W, X)
    with pytest.raises(ValueError, match="cannot follow a map into 'unknown_dot'"):
        cost.sensitivity(lambda w, x: (x, own(w, x)))(W, X)


def test_what_is_listed_is_neither_summed_nor_lost():
    def fn(w, x):
        def step(x, _):
            return own(w, x @ w), None

        x = jax.lax.scan(step, x, None, length=3)[0]
        return jax.lax.cond(x.sum() > 1e9, own, lambda w, x: x, w, x)

    (output, found) = jax.jit(cost.count(fn, opaque="list", with_output=True))(W, X)
    assert output.shape == X.shape
    listed = {k: v for k, v in found.items() if isinstance(v, cost.Uncounted)}
    assert {k: int(v.executions) for k, v in listed.items()} == {
        "block/unknown_dot": 3,
        "block/unknown_dot_1": 0,
    }
    assert {v.primitive for v in listed.values()} == {"unknown_dot"}
    assert int(found["dot_general"].dense) == 36
    for read in (cost.total, cost.as_dict, cost.drop, lambda c: cost.accumulate([c])):
        with pytest.raises(ValueError, match=r"\['block/unknown_dot', .* are unknown"):
            read(found)
    each = cost.count(own, opaque="list", per_example=True)(W, X)
    assert each["block"].executions.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"opaque must be one of \('raise', 'list'\)"):
        unwrap(cost.count)(own, opaque="skip")  # past the type checker


@pytest.mark.slow
@pytest.mark.usefixtures("rule")
def test_a_rule_holds_for_every_analysis():
    def fn(w, x):
        with jax.named_scope("block"):
            return KNOWN.bind(x, w)

    (plain,) = cost.as_dict(cost.count(matmul)(W, X)).values()
    assert cost.as_dict(cost.count(fn)(W, X)) == {"block": plain}
    scanned = cost.count(lambda w, x: jax.lax.map(lambda row: fn(w, row[None]), x))
    assert int(cost.total(scanned(W, X)).dense) == 12
    assert int(cost.profile(fn)(W, X)["block"].counts.effectual) == 4
    smooth = cost.surrogate(fn, a=1e-6)(W, X)["block"]
    assert float(smooth) == pytest.approx(4, rel=1e-4)
    assert kernels.by_use(fn)(W, X) == kernels.by_use(matmul)(W, X)
    costs, _ = cost.sensitivity(lambda w, x: (x, fn(w, x)))(W, X)
    assert costs.tolist() == [1, 2]


def test_a_rule_must_give_the_results_of_the_primitive():
    wrong = primitive("wrong_dot")
    cost.register(wrong, lambda x, w: (x @ w).T)
    message = r"'wrong_dot' must return \['float32\[3,2\]'\], got \['float32\[2,3\]'\]"
    with pytest.raises(ValueError, match=message):
        cost.count(lambda w, x: wrong.bind(x, w))(W, X)
    with pytest.raises(TypeError, match=r"primitive must be a jax.extend.core.Prim"):
        unwrap(cost.register)("wrong_dot", jnp.dot)  # past the type checker
    with pytest.raises(TypeError, match="rule of wrong_dot must be a function"):
        unwrap(cost.register)(wrong, None)


@pytest.fixture
def rules(monkeypatch):
    """No rules, and those of a test for the test alone."""
    monkeypatch.setattr(calls, "_RULES", {})


def whole_window(x, w, **_):
    """A convolution whose window is the map."""
    return jnp.einsum("nhwc,hwco->no", x, w)[:, None, None]


@pytest.mark.usefixtures("rules")
def test_a_rule_comes_before_what_is_built_in_and_the_last_one_holds():
    """For a product of JAX, and for what is refused by name."""
    x, w = jnp.ones((2, 3, 3, 2)), jnp.ones((3, 3, 2, 4))

    def convolve(w, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        options = {"padding": "VALID", "dimension_numbers": numbers}
        return jax.lax.conv_general_dilated(x, w, (1, 1), **options)

    (plain,) = cost.as_dict(cost.count(convolve)(w, x)).values()
    convolution = primitives.conv_general_dilated_p
    cost.register(convolution, whole_window)
    assert cost.as_dict(cost.count(convolve)(w, x)) == {"dot_general": plain}
    cost.register(
        convolution, lambda *args, **_: 2 * whole_window(*args) + whole_window(*args)
    )
    assert int(cost.total(cost.count(convolve)(w, x)).dense) == 2 * plain["dense"]
    cost.register(
        convolution, lambda *args, **params: convolution.bind(*args, **params)
    )
    with pytest.raises(ValueError, match="'conv_general_dilated' must not use it"):
        cost.count(convolve)(w, x)

    found = {e.primitive for e in jax.make_jaxpr(jax.lax.linalg.cholesky)(W).eqns}
    (refused,) = (one for one in found if one.name == "cholesky")
    with pytest.raises(ValueError, match="multiplications of 'cholesky'"):
        cost.count(jax.lax.linalg.cholesky)(W)
    cost.register(refused, lambda x, **_: x)
    assert cost.count(jax.lax.linalg.cholesky)(W) == {}


def test_what_is_followed_takes_no_rule():
    (loop,) = jax.make_jaxpr(lambda x: jax.lax.map(jnp.sin, x))(X).eqns
    message = r"none of \['cond', 'scan', 'shard_map', 'while'\].* got 'scan'"
    with pytest.raises(ValueError, match=message):
        cost.register(loop.primitive, lambda x, **_: x)


class Module(eqx.Module):
    """Functions and flags are leaves of it."""

    fc: jax.Array
    activation: object
    train: bool = False

    def __call__(self, x):
        assert self.train is False
        return self.activation(x @ self.fc)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, eqx.nn.Lambda(abs)])
def test_leaves_that_are_no_arrays_stay_as_they_are(activation):
    def fn(module, x):
        return module(x)

    module = Module(W, activation)
    plain = {"fc": cost.as_dict(cost.count(matmul)(W, X))["dot_general"]}
    assert cost.as_dict(cost.count(fn)(module, X)) == plain
    each = cost.count(fn, per_example=True)(module, X)["fc"]
    assert sum(each.effectual.tolist()) == plain["fc"]["effectual"]
    profiles = cost.profile(fn)(module, X)
    assert cost.as_dict({k: p.counts for k, p in profiles.items()}) == plain
    assert set(kernels.by_use(fn)(module, X)) == {"fc"}
    assert cost.input_sensitivity(fn)(module, X)["fc"].tolist() == [1, 2]
    assert cost.sensitivity(lambda m, x: (x, m(x)))(module, X)[0].tolist() == [1, 2]
    assert cost.surrogate(fn)(module, X).keys() == {"fc"}


def pallas_of(kernel, **options):
    def call(*operands):
        shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
        return pallas.pallas_call(kernel, shape, interpret=True, **options)(*operands)

    return call


def squared_relu(x, y):
    def row(i, _):
        y[i, :] = jnp.square(jnp.maximum(x[i, :], 0))

    jax.lax.fori_loop(0, 3, row, None)


def fused(x, w, y):
    @pallas.when(pallas.program_id(0) == 0)
    def _():
        y[...] = jax.nn.relu(x[...] @ w[...])


def test_a_kernel_without_products_passes():
    def fn(w, x):
        return pallas_of(squared_relu)(x - 1) @ w

    output, counts = jax.jit(cost.count(fn, with_output=True))(W, X)
    np.testing.assert_allclose(output, np.maximum(X - 1, 0) ** 2 @ W, rtol=1e-6)
    (found,) = cost.as_dict(counts).values()
    assert found["by_activation"] == 2 * int((X > 1).sum())


def test_a_kernel_with_products_is_named():
    def fn(w, x):
        with jax.named_scope("block"):
            return pallas_of(fused, name="fused_relu", grid=(1,))(x, w)

    message = "'pallas_call' in block.*its kernel 'fused_relu' multiplies by 'dot_gen"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(cost.count(fn), W, X)
    (found,) = cost.count(fn, opaque="list")(W, X).values()
    assert found.path.startswith("block")  # and the name of the kernel
    assert found.primitive == "pallas_call"
    assert found.reason == "its kernel 'fused_relu' multiplies by 'dot_general'"


with_vmap = jax.custom_batching.custom_vmap(matmul)
with_vmap.def_vmap(lambda size, batched, w, x: (matmul(w, x), True))
LISTED = {
    "JAX does not define this primitive": own,
    "its number of multiplications depends on": lambda w, x: jnp.linalg.cholesky(w),
    "does not see into this": lambda w, x: jax.pure_callback(np.dot, X, x, w),
    "does not say how often": with_vmap,
}


@pytest.mark.parametrize("reason", LISTED)
def test_what_is_listed_has_its_reason(reason):
    found = []

    def listed(w, x):
        found.extend(cost.count(LISTED[reason], opaque="list")(w, x).values())

    jax.eval_shape(listed, W, X)
    assert [reason in each.reason for each in found] == [True]


def test_products_with_a_partitioning_of_their_own_are_counted():
    partitioned = custom_partitioning(lambda w, x: x @ w)
    partitioned.def_partition(
        infer_sharding_from_operands=lambda mesh, args, result: None,
        partition=lambda mesh, args, result: None,
        sharding_rule="i j, k i -> k j",
    )
    found = cost.as_dict(cost.count(partitioned)(W, X))
    assert found == cost.as_dict(cost.count(matmul)(W, X))
