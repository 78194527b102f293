import jax
import jax.numpy as jnp
import pytest

from dst_jax import cost, models, trees
from dst_jax.activations import apply_with_activations

# Parameters: torchvision's model pages. MACs: sums over the layers' shapes, with and
# without the products that only read padding. Map elements per image: likewise.
PUBLISHED = {
    "resnet18": (11_689_512, 1_814_073_344, 1_680_390_912, 17, 2_308_096),
    "resnet34": (21_797_672, 3_663_761_408, 3_374_922_496, 33, 3_562_496),
    "resnet50": (25_557_032, 4_089_184_256, 3_948_251_904, 49, 9_608_704),
}


def _abstract(name, size=224, **options):
    model = models.create(name, num_classes=1000, **options)
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return model, x, jax.eval_shape(model.init, jax.random.key(0), x)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_maps_are_the_published_ones(name):
    parameters, _, _, taps, elements = PUBLISHED[name]
    model, x, variables = _abstract(name)
    assert trees.count(variables["params"]) == parameters
    maps = jax.eval_shape(
        lambda v, x: apply_with_activations(model, v, x)[1], variables, x
    )
    assert len(maps) == taps
    assert sum(m.size for m in maps.values()) == elements


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_at_224_are_the_published_ones(name):
    _, dense, valid, _, _ = PUBLISHED[name]
    model, x, variables = _abstract(name)
    ones = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), variables)
    counted = jax.jit(cost.count(model.apply))(ones, jnp.ones(x.shape))
    total = cost.total(counted)
    assert int(total.dense) == dense
    assert int(total.valid) == valid


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


def test_training_updates_statistics_and_bfloat16_keeps_float32_parameters():
    model = models.create("resnet18", num_classes=3, width=0.0625, dtype=jnp.bfloat16)
    x = jax.random.normal(jax.random.key(1), (4, 32, 32, 3))
    variables = model.init(jax.random.key(0), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    logits, maps, updated = jax.jit(
        lambda v, x: apply_with_activations(
            model, v, x, train=True, mutable=["batch_stats"]
        )
    )(variables, x)
    assert logits.dtype == jnp.float32
    assert maps["relu"].dtype == jnp.bfloat16
    moved = jax.tree.map(
        lambda a, b: (a != b).any(), variables["batch_stats"], updated["batch_stats"]
    )
    assert jax.tree.all(moved)
