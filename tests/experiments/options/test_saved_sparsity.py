"""SWAT from the command line: what the ledger of such a run counts."""

from contextlib import nullcontext
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from dst_jax import data, models
from dst_jax.runs import Run
from dst_jax.train import Context
from dst_jax.train.stage_plan import counted_step, plan_stage
from experiments.options import Config, PruneOptions

SWAT = PruneOptions(
    method="ste",
    method_options=("distribution=uniform",),
    sparsity=0.75,
    rules=("^fc2/=false",),
    saved_sparsity=0.9,
)


@pytest.mark.slow
def test_the_largest_weights_forward_and_the_largest_inputs_backward(tmp_path):
    (stage,) = SWAT.stages(Config(prune=SWAT), start=None)
    context = Context(
        model=models.create("mlp", num_classes=10, hidden=(8,)),
        dataset=data.load("digits", image_size=28),
        run=Run(tmp_path),
        batch_size=128,
        eval_batch_size=256,
    )
    entered = context.fresh_weights()
    plan = plan_stage(context, stage, entered)
    state = plan.build(entered)
    image = jax.random.randint(jax.random.key(0), (128, 28, 28, 1), 1, 255, jnp.uint8)
    batch = {"image": image, "label": jnp.zeros(128, jnp.int32)}
    found = counted_step(context, stage, plan)(state, batch, stage.objective)
    kept = 784 * 8 // 4
    assert int(found.forward["fc1"].by_weight) == 128 * kept
    gradient = found.weight_gradient["fc1"]
    assert int(gradient.valid) == 128 * 784 * 8
    assert int(gradient.by_activation) == 128 * 78 * 8  # round(0.1 * 784) inputs
    # fc2 is not prunable: it saves all, not one of its 8 inputs.
    assert int(found.weight_gradient["fc2"].by_activation) > 128 * 10


def test_without_it_and_where_it_has_no_meaning():
    plain = replace(SWAT, saved_sparsity=None)
    (stage,) = plain.stages(Config(prune=plain), start=None)
    assert stage.within is nullcontext
    dual = replace(PruneOptions(), saved_sparsity=0.9)
    with pytest.raises(
        ValueError, match=r"--prune\.saved_sparsity is for --prune.method"
    ):
        dual.check(Config(prune=dual))
