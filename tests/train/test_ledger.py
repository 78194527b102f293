"""The ledger of a training: what it holds, and that a resumed run goes on with it."""

import shutil

import optax
import pytest

from dst_jax import models, pruning, runs, train

MLP = models.create("mlp", num_classes=10, hidden=(8,))


def rigl(*, steps, steps_per_epoch, mask, seed):
    del steps_per_epoch, mask
    return pruning.rigl(
        optax.sgd(0.05), sparsity=0.75, interval=2, end=steps, seed=seed
    )


@pytest.fixture(scope="module")
def make(make_setup):
    def make(directory, **options):
        options = {"model": MLP, "save_every": 3, "ledger_every": 4} | options
        return make_setup(directory, **options)

    return make


@pytest.fixture(scope="module")
def stages():
    stage = train.stages.sparse_training(
        method="rigl",
        epochs=1,
        optimizer=rigl,
        start=None,
        dense_gradients=lambda step, **_: step % 2 == 0,
    )
    return [stage]


@pytest.fixture(scope="module")
def finished(make, stages, tmp_path_factory):
    context = make(tmp_path_factory.mktemp("finished"))
    train.train(context, stages, config={})
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


@pytest.mark.slow
def test_a_resumed_run_has_the_same_ledger(make, stages, finished, tmp_path):
    copy = shutil.copytree(finished.path, tmp_path / "run")
    (folder,) = (copy / "checkpoints").iterdir()
    shutil.rmtree(folder / "8")
    (copy / "summary.json").unlink()
    context = make(copy)
    train.train(context, stages, config={})
    assert runs.read_ledger(context.run) == runs.read_ledger(finished)
