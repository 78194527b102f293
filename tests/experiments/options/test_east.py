"""EAST's parts as options: switches, refusals, and stage two of the dual pipeline."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from dst_jax import models, parametrisations, pruning, trees
from experiments import cifar100_resnet50_east, imagenet_resnet18
from experiments.options import EastOptions, InitOptions, PretrainOptions, PruneOptions
from experiments.options.east import with_trained_sparsity
from experiments.options.methods import parse

EAST = cifar100_resnet50_east.PRESETS["full_9999"]
DUAL = imagenet_resnet18.PRESETS["full"]


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (DUAL, {"east": EastOptions(dyrelu=True)}, "--east.dyrelu is for --prune.meth"),
        (DUAL, {"east": EastOptions(owners=2)}, "--east.owners is for --prune.method"),
        (EAST, {"east": EastOptions(owners=0)}, "--east.owners must be at least 1"),
        (EAST, {"east": EastOptions(phase_start=0.5)}, "--east.phase-start must be at"),
        (EAST, {"east": EastOptions(fan_in=True), "pretrain": PretrainOptions()},
         "--east.fan-in is for weights that have not been trained"),
        (EAST, {"east": EastOptions(fan_in=True),
                "init": InitOptions("torchvision:resnet50")},
         "--east.fan-in is for weights that have not been trained"),
    ],
)  # fmt: skip
def test_contradictions_are_named(base, options, message):
    with pytest.raises(ValueError, match=message):
        replace(base, **options).check()


def test_every_part_is_a_switch_and_stage_two_takes_them():
    whole = EAST.stages()[-1]
    assert whole.path == "sparsify_weights.east"
    without = replace(EAST, east=EastOptions()).stages()[-1]
    for part in ("schedules", "parametrisation", "on_exit"):
        assert getattr(whole, part)
        assert not getattr(without, part)
    prune = PruneOptions(method="east", induce_epochs=0, finetune_epochs=5)
    dual = replace(DUAL, prune=prune, east=EastOptions(dyrelu=True))
    dual.check()
    found = dual.stages()
    dual.rehearse(found)
    assert [s.name for s in found] == [
        "pretrain",
        "sparsify_weights",
        "sparsify_activations",
    ]
    assert callable(found[1].schedules)
    assert found[2].schedules == {}


@pytest.mark.parametrize("layer_floor", ["0", "1e-5"])
def test_the_budget_of_the_network_that_shares_nothing_is_met_to_one(layer_floor):
    model = models.create("resnet50", num_classes=100, stem="cifar")
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    weights = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    sharing = parametrisations.shared(parametrisations.block_rules(owners=2))
    trained = jax.eval_shape(sharing.init, weights)
    texts = ["period=20%", f"layer_floor={layer_floor}"]
    method = parse("east", texts, target=0.9999)
    options = with_trained_sparsity(method, weights=weights, trained=trained).options
    assert options["sparsity"] == pytest.approx(1 - 1e-4 * 1.676, abs=1e-7)
    unique = pruning.masks.prunable(trained)
    counts = pruning.methods.east.layer_counts(
        unique, options["sparsity"], layer_floor=float(layer_floor)
    )
    assert sum(counts.values()) == 2365  # of 23,652,032
    assert min(counts.values()) >= 1
    assert trees.count(unique) == 14_112_448
