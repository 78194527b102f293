"""N:M patterns of activation maps as part of a stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models, penalties, train
from dst_jax.activations import patterns_of
from dst_jax.train import Term, stages
from dst_jax.train.stages import Patterning, Thresholding


@pytest.fixture(scope="module")
def setup_for(make_setup):
    model = models.create("mlp", num_classes=10, hidden=(16, 12))
    return lambda path: make_setup(path, model=model)


def _stages(optimizer, rules, **options):
    return stages.sparsify_activations(
        epochs=0,
        optimizer=optimizer,
        penalty=Term(penalties.l1, 0.0),
        start=None,
        patterning=Patterning(rules),
        **options,
    )


@pytest.mark.slow
def test_maps_have_their_patterns_after_the_stage(setup_for, optimizer, tmp_path):
    context = setup_for(tmp_path / "run")
    rules = (("relu1", "4:8"), ("", "1:4"))
    (stage,) = _stages(optimizer, rules, thresholding=Thresholding(0.125))
    (row,) = train.train(context, [stage], config={})["stages"]
    path = context.run.checkpoints / stage.path
    network = context.with_model(train.load_weights(path, sharding=context.sharding))
    context.check_weights(network)
    assert patterns_of(network.variables) == {"relu1": "4:8", "relu2": "1:4"}
    images = [context.dataset.test.example(i)[0] for i in range(99)]
    _, maps, _ = network.model(network.variables, context.preprocess(jnp.stack(images)))
    for name, n, m in (("relu1", 4, 8), ("relu2", 1, 4)):
        groups = np.asarray(maps[name]).reshape(-1, m)
        assert (groups != 0).sum(1).max() == n
        assert groups[groups != 0].min() >= 0.125
    layers = row["activation_sparsity"]
    assert layers["element"] >= (16 * 0.5 + 12 * 0.75) / 28


def test_channels_that_do_not_divide_are_refused_at_first(
    setup_for, optimizer, tmp_path
):
    context = setup_for(tmp_path / "run")
    fresh = jax.eval_shape(context.fresh_weights)
    with pytest.raises(
        ValueError, match="'relu2' needs channels that 16 divides, got 12"
    ):
        train.rehearse(context, _stages(optimizer, (("", "8:16"),)), fresh)
    with pytest.raises(ValueError, match="relu9"):
        train.rehearse(context, _stages(optimizer, (("relu9", "2:4"),)), fresh)
