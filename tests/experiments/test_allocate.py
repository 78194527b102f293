"""A finished run's layers allocated for an accelerator, realised and compared."""

import json

import pytest

from dst_jax import activations, data, models, train
from dst_jax.runs import Run
from experiments import allocate, compare_allocations
from experiments.running import finished_run
from experiments.running.config_record import options_of

QUICK = ("--examples", "128", "--weights", "0.5", "0.2", "--activations", "0.5")
QUICK += ("--cost", "multiplications")


def _optimizer(*, mask, **_):
    return train.chain(0.05, mask=mask)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    context = train.Context(
        model=models.create("mlp", num_classes=10, hidden=(8,)),
        dataset=data.load("digits", image_size=8, holdout=0.2),
        run=Run(tmp_path_factory.mktemp("runs") / "mlp"),
        batch_size=64,
        eval_batch_size=128,
        console=train.Console(quiet=True),
    )
    stages = [train.stages.pretrain(epochs=0, optimizer=_optimizer)]
    train.train(context, stages, config={"note": "by hand"})
    return context.run.path


def _record(run_dir, name):
    return json.loads((run_dir / "allocation" / f"{name}.json").read_text())


@pytest.mark.slow
def test_the_choice_is_realised_measured_again_and_compared(run_dir, capsys):
    argv = [str(run_dir), "--budget", "0.5", "--epochs", "1", *QUICK]
    argv += ["--accelerators", "scnn", "--rules", "allocation", "threshold"]
    assert compare_allocations.main(argv) == 0
    first = capsys.readouterr().out
    assert "allocation on scnn" in first
    assert "by the rule 'threshold'" in first
    written = _record(run_dir, "pretrain-scnn-multiplications-0.5")
    before, chosen, after = (written[k] for k in ("before", "chosen", "trained"))
    assert chosen["cost"] <= 0.5 * before["cost"]
    assert written["prediction"]["cost"] == pytest.approx(chosen["cost"], rel=0.2)
    assert after["loss"] < chosen["loss"]
    assert len(written["rounds"]) == 3
    met = [r["loss"] for r in written["rounds"] if r["cost"] <= 0.5 * before["cost"]]
    assert min(met) == chosen["loss"]
    assert (written["front"]["gap"][0], written["fixed_cost"]) == (0, 0)
    assert set(written["layers"]["fc2/kernel"]) >= {"loss", "predicted", "dropout"}
    run = Run(after["dir"])
    weights = finished_run.network_at_end(
        finished_run.reopen(after["dir"]), finished_run.stage_names(run)[-1]
    ).params
    for name, density in written["densities"].items():
        kept = (weights[name.removesuffix("/kernel")]["kernel"] != 0).mean()
        assert kept == pytest.approx(density)
    # Nothing is run again.
    assert compare_allocations.main(argv) == 0
    second = capsys.readouterr().out
    assert "allocation on scnn" not in second
    assert second.splitlines()[-3:] == first.splitlines()[-3:]


@pytest.mark.slow
def test_points_that_keep_the_accuracy_are_taken(run_dir, capsys):
    argv = [str(run_dir), "--budget-accuracy", "100", *QUICK]
    assert allocate.main(argv) == 0
    most = _record(run_dir, "pretrain-scnn-multiplications-accuracy-100")
    cheapest = min(most["front"]["cost"])
    assert most["prediction"]["cost"] == pytest.approx(cheapest)
    assert 0 <= most["test"]["chosen"]["top1"] <= 1
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("predicted", "duality", "dropout"))


@pytest.mark.slow
def test_a_pattern_of_a_map_is_chosen_trained_and_recorded(run_dir, capsys):
    argv = [str(run_dir), "--accelerator", "tensor_core_2_4", "--examples", "128"]
    argv += ["--weights", "--activations", "0.25", "1:8"]
    argv += ["--cost", "multiplications", "--strength", "1e-4", "--strengths", "cost"]
    argv += ["--rounds", "1"]
    assert allocate.main([*argv, "--budget-accuracy", "100", "--epochs", "1"]) == 0
    assert "1:8" in capsys.readouterr().out
    written = _record(run_dir, "pretrain-tensor_core_2_4-multiplications-accuracy-100")
    assert written["patterns"] == {"relu1": "1:8"}
    assert written["maps"]["relu1"]["option"] == "1:8"
    trained = written["trained"]["dir"]
    context = finished_run.reopen(trained)
    network = finished_run.network_at_end(context, "sparsify_activations")
    assert activations.patterns_of(network.variables) == {"relu1": "1:8"}
    # No other mask was chosen: the epochs of both stages are those of the maps.
    assert finished_run.stage_names(Run(trained))[-1] == "sparsify_activations"
    assert "sparsify_weights" not in finished_run.stage_names(Run(trained))
    assert options_of(Run(trained)).activation.epochs == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--budget", "0"), "--budget must be in (0, 1], got 0"),
        (("--weights", "2"), "--weights: a weight option must be a density"),
        (("--activations", "1"), "--activations: an option of a map must be a share"),
        (
            ("--activations", "4:2"),
            "--activations: n must be an integer in [1, m] with",
        ),
        (("--strengths", "cost"), "--strengths cost is for --rule allocation and a"),
        (("--rule", "erk", "--budget-accuracy", "1"), "--budget-accuracy is for"),
        (("--accelerator", "tpu9"), "--accelerator: accelerator must be one of"),
    ],
)
def test_bad_options_are_refused(capsys, options, message):
    assert allocate.main(["runs/none", *QUICK, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_budget_that_no_option_meets_is_refused(run_dir, capsys):
    options = ["--weights", "0.5", "3:7", "--activations", "3:7", "--examples", "128"]
    options += ["--cost", "multiplications", "--budget", "0.001"]
    assert allocate.main([str(run_dir), *options]) == 2
    printed = capsys.readouterr()
    assert "--budget must be at least 0." in printed.err
    assert printed.out.count("the option 3:7 is of no layer and no map") == 2
    assert allocate.main([str(run_dir), "--stage", "prune", *QUICK]) == 2
    assert "--stage must be one of ('pretrain',)" in capsys.readouterr().err
