"""What every network must do. A new one is tested by being in the registry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost, models, pruning, trees
from dst_jax.activations import apply_with_activations, with_phase, without_dyrelu
from dst_jax.kernels import by_name
from dst_jax.models.summary import layers

CLASSES = 7
FAST_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
# Enough of each class to test: the other names differ in depth alone, and are compared
# with the public networks, at full depth, in tests/models/test_published.py.
SHALLOW = {
    "densenet121": {"blocks": (1, 1, 1, 1)},
    "densenet121_cifar": {"blocks": (1, 1, 1, 1)},
    "efficientnet_lite0": {"blocks": (1, 2, 1, 1, 1, 1, 1)},
    "googlenet": {},
    "googlenet_cifar": {},
    "lenet5": {},
    "mlp": {},
    "mobilenet_v1": {},
    "mobilenet_v2": {},
    "resnet18": {"blocks": (1, 1, 1, 1)},
    "resnet20": {"blocks": 1},
    "resnet50": {"blocks": (1, 1, 1, 1)},
    "unet": {"depth": 2},
    "vgg16_bn": {"convolutions": (1, 1, 1, 1, 1)},
    "vit_tiny": {"depth": 1},
    "wide_resnet28_10": {"depth": 10},
}


# These take long to compile; tests/models/test_torch_parity.py runs them.
LONG = ("efficientnet_lite0", "googlenet", "googlenet_cifar", "mobilenet_v2")
RUN = [n for n in SHALLOW if n not in LONG]


def _small(name, **more):
    """A narrow, shallow network and the shape of a batch of small images for it."""
    options = {"width": 0.25} if "width" in models.options(name) else {}
    height, _, channels = models.task(name).image
    size = min(height, 32)
    model = models.create(name, num_classes=CLASSES, **options, **more)
    return model.clone(**SHALLOW[name]), (4, size, size, channels)


def _rngs():
    return {"dropout": jax.random.key(2)}


@functools.cache
def _traced(name):
    """Shapes of a bfloat16 network's variables, and of a step of training."""
    model, shape = _small(name, dtype=jnp.bfloat16)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)

    def step(variables, x):
        return apply_with_activations(
            model, variables, x, train=True, mutable=["batch_stats"], rngs=_rngs()
        )

    return variables, *jax.eval_shape(step, variables, x)


def _variables(shapes):
    """Weights that keep the scale of maps; compiling `init` would take longer."""
    draw = np.random.default_rng(0)

    def leaf(name, shape):
        if name.endswith(("scale", "var")):
            return jnp.ones(shape.shape)
        fan_in = max(np.prod(shape.shape[:-1]), 1)
        return jnp.asarray(
            draw.normal(0, (2 / fan_in) ** 0.5, shape.shape), jnp.float32
        )

    return trees.map_named(leaf, shapes)


@functools.cache
def _executed(name):
    """The variables before and after a step of training, its logits and maps."""
    model, shape = _small(name)
    x = jax.random.normal(jax.random.key(1), shape)
    variables = _variables(jax.eval_shape(model.init, jax.random.key(0), x))
    step = functools.partial(
        apply_with_activations, model, train=True, mutable=["batch_stats"]
    )
    run = jax.jit(step, compiler_options=FAST_TO_COMPILE)
    return variables, *run(variables, x, rngs=_rngs())


# The others take more than 5 s together to trace and to compile.
QUICK = {"lenet5", "mlp", "resnet18", "resnet20", "unet", "vgg16_bn"}


def _cases(names):
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in names
    ]


@pytest.fixture(params=_cases(SHALLOW))
def name(request):
    return request.param


def test_logits_are_float32_for_each_class(name):
    _, logits, _, _ = _traced(name)
    assert logits.shape[0] == 4
    assert logits.shape[-1] == CLASSES
    assert logits.dtype == jnp.float32


def test_parameters_and_statistics_stay_float32_and_maps_do_not(name):
    variables, _, maps, _ = _traced(name)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in maps.values()} == {jnp.dtype(jnp.bfloat16)}


def test_nothing_but_parameters_and_statistics_is_kept(name):
    variables, _, maps, updated = _traced(name)
    assert variables.keys() <= {"params", "batch_stats"}
    statistics = variables.get("batch_stats", {})
    assert jax.tree.map(jnp.shape, updated.get("batch_stats", {})) == jax.tree.map(
        jnp.shape, statistics
    )
    names = trees.named_leaves(variables["params"])
    assert maps
    assert not maps.keys() & names.keys()


def test_every_class_is_here():
    made = {name: models.create(name, num_classes=CLASSES) for name in models.names()}
    assert {type(made[name]) for name in SHALLOW} == {type(m) for m in made.values()}


@pytest.mark.slow
@pytest.mark.parametrize("name", _cases(RUN))
def test_maps_are_nonnegative_and_have_zeros(name):
    _, logits, maps, _ = _executed(name)
    assert jnp.isfinite(logits).all()
    assert all((m >= 0).all() for m in maps.values())
    assert any((m == 0).any() for m in maps.values())
    assert all((m > 0).any() for m in maps.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", _cases(RUN))
def test_training_moves_every_statistic(name):
    variables, _, _, updated = _executed(name)
    before = trees.named_leaves(variables.get("batch_stats", {}))
    after = trees.named_leaves(updated.get("batch_stats", {}))
    assert before.keys() == after.keys()
    assert all((after[key] != value).any() for key, value in before.items())
    normalised = any("scale" in key for key in trees.named_leaves(variables["params"]))
    assert bool(before) == (normalised and not name.startswith("vit"))


@pytest.mark.parametrize(
    "name", _cases(name for name in RUN if "dropout" in models.options(name))
)
def test_dropout_is_off_in_evaluation(name):
    model, shape = _small(name, dropout=0.5)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    jax.eval_shape(model.apply, variables, x)  # asks for no random numbers
    train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
    with pytest.raises(Exception, match='needs PRNG for "dropout"'):
        jax.eval_shape(train, variables, x)


@pytest.mark.slow
def test_the_summary_has_the_products_that_are_counted(name):
    model, (_, *image) = _small(name)
    rows = layers(model, tuple(image))
    x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), (variables, x))

    def dense(variables, x):  # all else is dropped before it is compiled
        counts = cost.count(model.apply)(variables, x)
        return {path: count.dense for path, count in counts.items()}

    counted = {key: int(count) for key, count in jax.jit(dense)(*zeros).items()}
    assert sum(counted.values()) == sum(row.macs for row in rows)
    assert sum(row.parameters for row in rows) == trees.count(variables["params"])
    if name != "vit_tiny":  # whose attention multiplies twice under one name
        assert counted == {row.name: row.macs for row in rows if row.macs}
    kernels = by_name(variables["params"])
    modules = dict.fromkeys((path.rpartition("/")[0] for path in kernels), 0.5)
    training = pruning.training_flops(counted, modules)
    assert training.forward < sum(counted.values())


def test_dyrelu_at_every_tap_and_no_new_kernel(name):
    own, _, maps, _ = _traced(name)
    model, shape = _small(name, rectifier="dyrelu")
    other = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    assert len(jax.tree.leaves(other["phases"])) == len(maps) > 0
    assert set(by_name(other["params"])) == set(by_name(own["params"]))
    without, _ = without_dyrelu(other)
    assert jax.tree.map(jnp.shape, without) == jax.tree.map(jnp.shape, own)


@pytest.mark.slow
@pytest.mark.parametrize("small", ["mlp", "resnet20"])
def test_dyrelu_at_phase_0_is_relu_exactly(small):
    plain, shape = _small(small)
    x = jax.random.normal(jax.random.key(1), shape)
    dynamic = plain.clone(rectifier="dyrelu")
    variables = _variables(jax.eval_shape(dynamic.init, jax.random.key(0), x))
    before = dynamic.apply(with_phase(variables, 1), x)
    found = dynamic.apply(with_phase(variables, 0), x)
    expected = plain.apply(without_dyrelu(variables)[0], x)
    np.testing.assert_array_equal(found, expected)
    assert np.abs(before - expected).max() > 1e-3
