"""Options that take a network away from its published form, and what they refuse."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models
from dst_jax.models.networks.efficientnet_lite import _InvertedResidual
from dst_jax.models.summary import layers


def _abstract(name, image=None, **options):
    model = models.create(name, num_classes=4, **options)
    x = jax.ShapeDtypeStruct((2, *(image or models.task(name).image)), jnp.float32)
    return model, x, jax.eval_shape(model.init, jax.random.key(0), x)


def _epsilons(name, **options):
    """The eps of every batch normalisation that a forward pass calls."""
    model, x, variables = _abstract(name, width=0.25, **options)
    found = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, models.BatchNorm):
            found[context.module.path] = context.module.epsilon
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(model.apply, variables, x)
    return list(found.values())


@pytest.mark.slow
def test_googlenet_of_cifar_has_the_large_eps_of_the_papers_baseline():
    channels = [32, 96, 48, 64, 64, 64, 128, 128, 128]
    found = _epsilons("googlenet_cifar")
    assert [eps for eps in found if eps >= 1] == [c // 4 for c in channels]
    assert set(_epsilons("googlenet_cifar", large_eps=False)) == {1e-5}


def test_googlenet_of_torchvision_takes_another_eps():
    assert set(_epsilons("googlenet", bn_eps=0.5)) == {0.5}  # 0.001: see the parity


def test_transitions_have_no_relu_unless_asked():
    def taps(**options):
        model = models.create("densenet121_cifar", num_classes=4, width=0.25, **options)
        model = model.clone(blocks=(1, 1, 1))
        rows = layers(model, (32, 32, 3))
        return {row.name for row in rows if row.activations}

    more = {f"features/transition_layer_{i}/down_sample/relu" for i in range(2)}
    assert taps(transition_relu=True) == taps() | more
    assert len(taps()) == 7


@pytest.mark.slow
def test_auxiliary_heads_run_in_training_only():
    model, x, variables = _abstract("googlenet", (64, 64, 3), aux_logits=True)
    assert {"aux1", "aux2"} <= variables["params"].keys()
    _, sown = jax.eval_shape(
        lambda v, x: model.apply(
            v,
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            rngs={"dropout": jax.random.key(0)},
        ),
        variables,
        x,
    )
    heads = sown["intermediates"]
    logits = {name: sown["logits"][0].shape for name, sown in heads.items()}
    assert logits == {"aux1": (2, 4), "aux2": (2, 4)}
    _, quiet = jax.eval_shape(
        lambda v, x: model.apply(v, x, mutable=["intermediates"]), variables, x
    )
    assert quiet == {}
    _, _, without = _abstract("googlenet", (64, 64, 3))
    assert not {"aux1", "aux2"} & without["params"].keys()


@pytest.mark.slow
def test_mobilenets_stems_have_their_strides():
    def last_map(name, **options):
        model = models.create(name, num_classes=4, width=0.25, **options)
        rows = layers(model, (32, 32, 3))
        return [row.shape for row in rows if row.activations][-1][:2]

    assert last_map("mobilenet_v1") == last_map("mobilenet_v2") == (1, 1)
    assert last_map("mobilenet_v1", stem="cifar") == (2, 2)
    assert last_map("mobilenet_v2", stem="cifar") == (4, 4)


def test_drop_connect_leaves_out_a_block_of_an_example_or_enlarges_it():
    rng, key = np.random.default_rng(0), jax.random.key(1)
    x = jnp.asarray(rng.normal(size=(16, 2, 2, 4)), jnp.float32)
    block = _InvertedResidual(4, 1, 3, 1, True)
    shapes = jax.eval_shape(block.init, key, x)
    variables = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)

    def sums(drop):
        run = jax.jit(partial(block.clone(drop=drop).apply, mutable=["batch_stats"]))
        return np.asarray(run(variables, x, rngs={"dropout": key})[0] - x)

    whole, found = sums(0.0), sums(0.5)
    left_out = (found == 0).all((1, 2, 3))
    assert 0 < left_out.sum() < 16
    np.testing.assert_allclose(found[~left_out], 2 * whole[~left_out], 1e-4, 1e-5)


def test_images_of_the_wrong_size_are_refused():
    with pytest.raises(
        ValueError, match=r"multiples of 16 for depth 5, got \(40, 40\)"
    ):
        _abstract("unet", (40, 40, 3))
    with pytest.raises(ValueError, match=r"multiples of 16, got \(30, 32\)"):
        _abstract("vit_tiny", (30, 32, 3))


def test_an_mlp_of_other_sizes():
    _, _, variables = _abstract("mlp", hidden=[8, 6, 5])
    shapes = [layer["kernel"].shape for layer in variables["params"].values()]
    assert shapes == [(784, 8), (8, 6), (6, 5), (5, 4)]
