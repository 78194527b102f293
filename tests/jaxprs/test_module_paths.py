import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dst_jax import cost
from dst_jax.jaxprs import module_paths as naming


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(2, (3, 3), name="conv1")(x))
        return nn.Conv(2, (1, 1), name="conv2")(x)


class Net(nn.Module):
    remat: bool = False

    @nn.compact
    def __call__(self, x):
        block = nn.remat(Block) if self.remat else Block
        x = nn.Conv(2, (3, 3), name="conv1")(x)
        x = block(name="layer1_0")(x)
        x = block(name="layer1_1")(x)
        return nn.Dense(3, name="fc")(x.mean((1, 2)))


NAMES = [
    "conv1",
    "layer1_0/conv1",
    "layer1_0/conv2",
    "layer1_1/conv1",
    "layer1_1/conv2",
    "fc",
]


def keys(model: nn.Module, x, *transformations) -> list[str]:
    variables = model.init(jax.random.key(0), x)
    fn = model.apply
    for transformation in transformations:
        fn = transformation(fn)
    return list(jax.jit(cost.count(fn))(variables, x))


IMAGES = jnp.ones((1, 4, 4, 3))


@pytest.mark.slow
@pytest.mark.parametrize("transformations", [(), (jax.jit,), (jax.checkpoint,)])
@pytest.mark.parametrize("remat", [False, True])
def test_linen_paths_are_those_of_the_parameters(remat, transformations):
    assert keys(Net(remat), IMAGES, *transformations) == NAMES


@pytest.mark.slow
def test_vmap_keeps_the_paths():
    variables = Net().init(jax.random.key(0), IMAGES)
    fn = jax.vmap(Net().apply, (None, 0))
    assert list(cost.count(fn)(variables, IMAGES[None])) == NAMES


def test_linen_attention():
    model = nn.Sequential([nn.MultiHeadDotProductAttention(1), nn.Dense(2)])
    attention = "layers_0"
    assert keys(model, jnp.ones((1, 3, 2))) == [
        f"{attention}/query",
        f"{attention}/key",
        f"{attention}/value",
        f"{attention}/dot_general",
        f"{attention}/dot_general_1",
        f"{attention}/out",
        "layers_1",
    ]


class Shared(nn.Module):
    def setup(self):
        self.conv = nn.Conv(3, (1, 1))
        self.head = nn.Dense(2)

    def __call__(self, x):
        return self.head(self.twice(x))

    def twice(self, x):
        return self.conv(self.conv(x))


def test_a_module_called_twice_through_a_method():
    assert keys(Shared(), IMAGES) == [
        "conv/conv_general_dilated",
        "conv/conv_general_dilated_1",
        "head",
    ]


class Same(nn.Module):
    """A module in a module of its name."""

    name_inside: str = "b"

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name=self.name_inside)(nn.Dense(3, name="a")(x))


class Calling(Block):
    """A module that calls its base class, which Flax writes twice."""

    @nn.compact
    def __call__(self, x):
        return super().__call__(x) + x @ self.param("w", nn.initializers.ones, (3, 2))


class Repeated(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Same(name="b")(Same(name="a", name_inside="a_")(x))
        return Calling(name="c")(x) + nn.Embed(2, 3, name="e").attend(x)


@pytest.mark.slow
def test_a_name_that_follows_itself_stays_and_a_call_of_the_base_class_does_not():
    assert keys(Repeated(), IMAGES) == [
        "a/a",
        "a/a_",
        "b/a",
        "b/b",
        "c/conv1",
        "c/conv2",
        "c",
        "e",
    ]
    inside = [f"Calling/{name}" for name in ("conv1", "conv2")]
    assert keys(Calling(), IMAGES) == [*inside, "Calling"]


def test_the_scopes_of_plain_functions_stay():
    def fn(w, x):
        with jax.named_scope("b"), jax.named_scope("b"):
            x = matmul(w, x)
        with jax.named_scope("b"), jax.named_scope("c"):
            return matmul(w, x)

    w = jnp.eye(2)
    assert list(cost.count(jax.named_scope("net")(fn))(w, w)) == ["b/b", "b/c"]


def matmul(w, x):
    return x @ w


def test_plain_functions_are_numbered():
    w = jnp.eye(2)
    fn = cost.count(lambda w, x: matmul(w, matmul(w, x)))
    assert list(fn(w, w)) == ["dot_general", "dot_general_1"]
    assert list(cost.count(matmul)(w, w)) == ["dot_general"]


def test_named_scopes_and_nested_jit():
    inner = jax.jit(jax.named_scope("inner")(matmul))

    @jax.jit
    def fn(w, x):
        with jax.named_scope("outer"):
            x = inner(w, x)
            return inner(w, matmul(w, x))

    w = jnp.eye(2)
    assert list(cost.count(fn)(w, w)) == [
        "outer/inner/dot_general",
        "outer",
        "outer/inner/dot_general_1",
    ]


def test_differentiation_keeps_the_paths():
    def loss(w, x):
        with jax.named_scope("net"), jax.named_scope("fc"):
            return jax.jit(matmul)(w, x).sum()

    w = jnp.eye(2)
    counts = cost.count(jax.grad(loss, argnums=(0, 1)))(w, w)
    assert set(counts) == {f"fc/dot_general{i}" for i in ("", "_1", "_2")}


@pytest.mark.parametrize(
    ("stack", "path"),
    [
        ("", ()),
        ("jvp()", ()),
        ("vmap(jvp(Net))/layer1/0/conv1", ("Net", "layer1", "0", "conv1")),
        ("Net/transpose(jvp(vmap(layer1/0)))", ("Net", "layer1", "0")),
        ("Net/checkpoint/rematted_computation/fc", ("Net", "fc")),
        ("layer1.0/layer1.1", ("layer1.0", "layer1.1")),
        ("my(scope)/fc", ("my(scope)", "fc")),
        ("Net/features/0/0", ("Net", "features", "0", "0")),
        ("b/b", ("b", "b")),
        ("Attention/Attention/query", ("Attention", "query")),
    ],
)
def test_paths(stack, path):
    assert naming.path_of(stack) == path


SEGMENT = st.sampled_from(["a", "dot_general", "dot_general_1"])


@given(
    st.lists(
        st.tuples(st.lists(SEGMENT, max_size=3).map(tuple), st.just("dot_general"))
    )
)
def test_keys_are_unique_and_repeatable(operations):
    named = naming.keys(operations)
    assert len(set(named)) == len(named) == len(operations)
    assert naming.keys(operations) == named
