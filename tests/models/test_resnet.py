import jax
import jax.numpy as jnp
import pytest

from dst_jax import cost, models, trees
from dst_jax.activations import apply_with_activations

# MACs: sums over the layers' shapes, with and without the products that only read
# padding. Parameters and maps of these and the others are in test_published.py.
PUBLISHED = {
    "resnet18": (1_814_073_344, 1_680_390_912),
    "resnet34": (3_663_761_408, 3_374_922_496),
    "resnet50": (4_089_184_256, 3_948_251_904),
}


def _abstract(name, size=224, **options):
    model = models.create(name, num_classes=1000, **options)
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return model, x, jax.eval_shape(model.init, jax.random.key(0), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_at_224_are_the_published_ones(name):
    dense, valid = PUBLISHED[name]
    model, x, variables = _abstract(name)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), (variables, x))

    def static(variables, x):  # all else is dropped before it is compiled
        total = cost.total(cost.count(model.apply)(variables, x))
        return total.dense, total.valid

    assert tuple(map(int, jax.jit(static)(*zeros))) == (dense, valid)


def test_names_are_torchvisions():
    _, _, variables = _abstract("resnet18", size=64)
    names = set(trees.named_leaves(variables["params"]))
    expected = {"conv1/kernel", "bn1/scale", "bn1/bias", "fc/kernel", "fc/bias"}
    for layer in range(1, 5):
        for block in range(2):
            prefix = f"layer{layer}/{block}"
            for i in (1, 2):
                expected |= {f"{prefix}/conv{i}/kernel"}
                expected |= {f"{prefix}/bn{i}/{p}" for p in ("scale", "bias")}
        if layer > 1:
            down = f"layer{layer}/0/downsample"
            expected |= {f"{down}/0/kernel", f"{down}/1/scale", f"{down}/1/bias"}
    assert names == expected


def test_stem_and_width():
    model, x, variables = _abstract("resnet18", size=32, stem="cifar", width=0.5)
    maps = jax.eval_shape(
        lambda v, x: apply_with_activations(model, v, x)[1], variables, x
    )
    assert maps["relu"].shape == (1, 32, 32, 32)
    assert maps["layer4/1/relu2"].shape == (1, 4, 4, 256)
    assert variables["params"]["conv1"]["kernel"].shape == (3, 3, 3, 32)
