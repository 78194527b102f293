"""Thresholds on activation maps as part of a stage."""

import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models, penalties, train
from dst_jax.activations import thresholds_of
from dst_jax.train import Term, stages
from dst_jax.train.stages import Thresholding


def _pipeline(optimizer, **options):
    return [
        stages.pretrain(epochs=2, optimizer=optimizer),
        *stages.sparsify_activations(
            epochs=1,
            optimizer=optimizer,
            penalty=Term(penalties.l1, 1e-4),
            start="pretrain",
            **options,
        ),
    ]


@pytest.fixture(scope="module")
def setup_for(make_setup):
    model = models.create("mlp", num_classes=10, hidden=(16, 12))
    return lambda path: make_setup(path, model=model)


def _weights(context, stage):
    path = context.run.checkpoints / stage.path
    return train.load_weights(path, sharding=context.sharding)


def _maps(context, weights):
    x = context.preprocess(
        jnp.stack([context.dataset.test.example(i)[0] for i in range(99)])
    )
    return context.with_model(weights).model(weights.variables, x)[1]


@pytest.mark.slow
def test_maps_stay_above_the_threshold_after_the_stage(setup_for, optimizer, tmp_path):
    context = setup_for(tmp_path / "run")
    plan = _pipeline(optimizer, thresholding=Thresholding(0.5))
    before, after = train.train(context, plan, config={})["stages"]
    weights = _weights(context, plan[-1])
    assert thresholds_of(weights.model_state) == dict.fromkeys(context.map_names, 0.5)
    for x in map(np.asarray, _maps(context, weights).values()):
        assert (x[x > 0] >= 0.5).all()
        assert (x > 0).any()
    sparsity = [row["activation_sparsity"]["element"] for row in (before, after)]
    assert sparsity[1] > sparsity[0] + 0.05
    context.check_weights(weights)


@pytest.mark.slow
def test_the_threshold_may_come_after_the_penalty(setup_for, optimizer, tmp_path):
    context = setup_for(tmp_path / "run")
    thresholding = Thresholding(0.25, "soft")
    plan = _pipeline(optimizer, thresholding=thresholding, threshold_epochs=1)
    assert [stage.path for stage in plan[1:]] == [
        "sparsify_activations.penalise",
        "sparsify_activations.threshold",
    ]
    summary = train.train(context, plan, config={})
    assert [row["name"] for row in summary["stages"]] == [
        "pretrain",
        "sparsify_activations",
    ]
    assert summary["stages"][1]["epochs"] == 2
    penalised, ended = (_weights(context, stage) for stage in plan[1:])
    assert thresholds_of(penalised.model_state) == {}
    assert ended.model_state["thresholds"]["relu1"] == {"soft": 0.25}
    again = train.train(context, plan, config={})
    assert again["params_sha256"] == summary["params_sha256"]
