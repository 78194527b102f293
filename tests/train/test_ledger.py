"""The ledger of a training: what it holds, and that a resumed run goes on with it."""

import shutil
from dataclasses import replace

import optax
import pytest

from dst_jax import models, pruning, runs, train
from dst_jax.train.events import Together


def rigl(*, steps, steps_per_epoch, mask, seed):
    del steps_per_epoch, mask
    return pruning.rigl(
        optax.sgd(0.05), sparsity=0.75, interval=2, end=steps, seed=seed
    )


STAGE = train.stages.sparse_training(
    method="rigl",
    epochs=1,
    optimizer=rigl,
    start=None,
    dense_gradients=lambda step, **_: step % 2 == 0,
)


def run_stage(context):
    with train.Interrupt() as interrupt:
        train.run_stage(
            context,
            STAGE,
            context.fresh_weights(),
            interrupt=interrupt,
            events=Together(),
        )


@pytest.fixture(scope="module")
def context(make_setup, tmp_path_factory):
    model = models.create("mlp", num_classes=10, hidden=(8,))
    folder = tmp_path_factory.mktemp("finished")
    context = make_setup(folder, model=model, save_every=3, ledger_every=4)
    run_stage(context)
    return context


@pytest.fixture(scope="module")
def finished(context):
    return context.run


def test_every_step_is_in_an_interval_and_every_fourth_is_counted(finished):
    lines = runs.read_ledger(finished)
    counted = [line for line in lines if line["kind"] == "step"]
    intervals = [line for line in lines if line["kind"] == "interval"]
    assert [line["step"] for line in counted] == [1, 5]
    assert [(line["step"], line["steps"]) for line in intervals] == [
        *((3, 3), (6, 3), (8, 2))
    ]
    assert [line["dense_gradients"] for line in intervals] == [1, 2, 1]
    kept = counted[0]["weights"]
    sizes = {"fc1/kernel": 784 * 8, "fc2/kernel": 8 * 10}
    assert kept.keys() == sizes.keys()
    assert sum(kept.values()) == round(sum(sizes.values()) / 4)
    for line in intervals:  # RigL keeps the number of weights of every layer
        assert line["weights"] == {k: n * line["steps"] for k, n in kept.items()}


def test_a_step_holds_the_products_of_its_batch(finished):
    first = next(line for line in runs.read_ledger(finished) if line["kind"] == "step")
    assert first["examples"] == 128
    own = first["layers"]["fc1"]
    assert list(own) == ["forward", "weight_gradient"]  # images have no gradient
    assert own["forward"]["valid"] == 128 * 784 * 8
    kept = first["weights"]["fc1/kernel"]
    assert own["weight_gradient"]["by_weight"] == 128 * kept
    assert own["forward"]["by_weight"] == 128 * kept  # no kept weight is 0 at first
    assert own["weight_gradient"]["effectual"] < own["weight_gradient"]["all_weights"]
    assert list(first["layers"]["fc2"]) == [
        *("forward", "input_gradient", "weight_gradient")
    ]


def test_products_of_weights_are_those_of_rigls_formula(finished):
    """`3 f_S`, less the first layer's input gradient, which is never computed."""
    first = next(line for line in runs.read_ledger(finished) if line["kind"] == "step")
    macs = {"fc1": 784 * 8, "fc2": 8 * 10}
    kept = {k.partition("/")[0]: n for k, n in first["weights"].items()}
    densities = {name: kept[name] / macs[name] for name in macs}
    formula = pruning.training_flops(macs, densities)
    counted = sum(
        counts["by_weight"]
        for layer in first["layers"].values()
        for counts in layer.values()
    )
    assert counted == pytest.approx(128 * (formula.total - kept["fc1"]), rel=1e-12)


def test_a_resumed_run_has_the_same_ledger(context, tmp_path):
    copy = shutil.copytree(context.run.path, tmp_path / "run")
    (folder,) = (copy / "checkpoints").iterdir()
    shutil.rmtree(folder / "8")
    run_stage(replace(context, run=runs.Run(copy)))
    assert runs.read_ledger(runs.Run(copy)) == runs.read_ledger(context.run)
