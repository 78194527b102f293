"""A small run, pruned after training."""

from dataclasses import replace

import numpy as np
import pytest

from dst_jax import data, models, train
from dst_jax.pruning import masks
from dst_jax.runs import Run, read_post_training
from dst_jax.train.stages import post_training, search_densities
from dst_jax.trees import named_leaves
from experiments import export
from experiments import post_training as command
from experiments.running import post_trained

CONFIG = {
    "model": {"name": "mlp", "options": ["hidden=24,16"], "dtype": "float32"},
    "data": {"name": "digits", "batch_size": 128, "eval_batch_size": 256},
}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A run that has trained an MLP for a few epochs."""
    context = train.Context(
        model=models.create("mlp", num_classes=10, hidden=(24, 16)),
        dataset=data.load("digits"),
        run=Run(tmp_path_factory.mktemp("runs") / "mlp"),
        batch_size=128,
        eval_batch_size=256,
        eval_every=6,
        console=train.Console(quiet=True),
    )
    dense = train.stages.pretrain(epochs=6, optimizer=train.sgd(0.2))
    context.run.write_config({"config": CONFIG})
    train.train(context, [dense], config=CONFIG)
    return context


def _dense(context):
    path = context.run.checkpoints / "pretrain"
    return context.with_model(train.load_weights(path, sharding=context.sharding))


def _on_few(context, path, *, labels):
    """The context with fewer images to train on, and other labels of them."""
    few = post_trained.first_of(context.dataset.train, 1024)
    few = replace(few, records=replace(few.records, labels=labels))
    dataset = replace(context.dataset, train=few)
    return replace(context, run=Run(path), dataset=dataset)


@pytest.mark.slow
def test_it_learns_from_the_teacher_alone(context, tmp_path):
    """With wrong labels, too; what is pruned is what was searched for."""
    dense = _dense(context)
    wrong = np.zeros_like(context.dataset.train.records.labels)
    few = _on_few(context, tmp_path / "run", labels=wrong)
    counts, searched = search_densities(
        few, dense, sparsity=0.95, population=3, generations=2, parents=2
    )
    assert searched.fitness >= searched.uniform
    stage = post_training(counts=counts, epochs=4, lr=0.03)
    train.train(few, [stage], config=CONFIG, init=dense)
    path = few.run.checkpoints / stage.path
    found = few.with_model(train.load_weights(path, sharding=few.sharding))
    assert found.variables.keys() == dense.variables.keys()
    leaves = named_leaves(found.params)
    kept = {name: int(np.count_nonzero(leaves[name])) for name in counts.kept}
    assert kept == dict(counts.kept)
    assert sum(kept.values()) == round(0.05 * (256 * 24 + 24 * 16 + 16 * 10))
    cut = masks.apply(counts.mask(dense.params), dense.params)
    cut = few.evaluate(dense.with_params(cut), few.dataset.test, count=False)
    learnt = few.evaluate(found, few.dataset.test, count=False)
    assert learnt.top1 > cut.top1 + 0.1


class _Unreadable:
    """Records that no choice may read."""

    def __len__(self):
        return 599

    def example(self, index, rng=None):
        raise AssertionError("the test set was read")


@pytest.mark.slow
def test_the_command_chooses_on_the_hold_out_and_writes_a_run(
    context, capsys, monkeypatch
):
    # A report takes longer than all that it is about.
    monkeypatch.setattr("dst_jax.report.write", lambda path: path)
    arguments = [str(context.run.path), "--accelerator", "eie", "--sparsities", "0.5"]
    arguments += ["--epochs", "1", "--population", "2", "--generations", "1"]
    arguments += ["--bisections", "1", "--batch-size", "128", "--images", "300"]
    arguments += ["--budget-accuracy", "4"]
    assert command.main(arguments) == 0
    run = Run(context.run.path / "post_training")
    names = ["given", "thresholds", "weights_50", "weights_50_thresholds"]
    assert run.read_config()["stages"] == [*names, "chosen"]
    choice = read_post_training(run)["choice"]
    assert [row["stage"] for row in choice["candidates"]] == names
    within = [row for row in choice["candidates"] if row["loss"] <= 4]
    cheapest = min(within, key=lambda row: row["cost"])
    assert choice["chosen"] == cheapest["stage"] != "given"
    chosen, source = run.read_stage("chosen"), run.read_stage(cheapest["stage"])
    assert chosen["layers"] == source["layers"]
    assert run.read_accelerators("chosen")["machines"].keys() == {"eie"}
    assert run.read_stage("weights_50")["weight_sparsity"] == pytest.approx(0.5, 1e-3)

    unread = replace(context.dataset.test, records=_Unreadable())
    dataset = replace(context.dataset, test=unread)
    blind = replace(context, run=run, dataset=dataset)
    choose = post_trained.Choose(tuple(names[:2]), 4, "eie")
    again = [vars(candidate) for candidate in choose.candidates(blind)]
    assert again == choice["candidates"][:2]

    assert export.main([str(run.path)]) == 0
    capsys.readouterr()
    assert command.main(arguments) == 0  # it is finished: nothing is trained again
    assert "epoch" not in capsys.readouterr().out.split("Accuracy")[0]
    assert command.main([*arguments, "--seed", "1"]) == 2
    assert "--seed was 0, now 1; give another --out" in capsys.readouterr().err
