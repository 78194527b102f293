import itertools
import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from dst_jax import cost, train
from dst_jax.train import records
from dst_jax.train.integrity import find_fault
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.stages import Stage, control


@pytest.fixture(scope="module")
def finished(make_setup, three_stages, tmp_path_factory):
    context = make_setup(tmp_path_factory.mktemp("finished"))
    summary = train.train(context, three_stages(), config={"note": "test"})
    return context, summary


def test_three_stages_end_to_end(finished):
    context, summary = finished
    names = [row["name"] for row in summary["stages"]]
    assert names == ["pretrain", "sparsify_weights", "sparsify_activations"]
    dense, pruned, dual = summary["stages"]
    assert dense["weight_sparsity"] == 0
    assert dense["drift"] is None
    for row in (pruned, dual):
        assert abs(row["weight_sparsity"] - 0.6) < 1e-4
        assert row["drift"]["euclidean"] > 0
        assert row["drift"]["cosine"] < 1
    assert context.run.read_summary() == json.loads(json.dumps(summary))


def test_the_drop_is_the_one_of_the_saved_counts(finished):
    context, summary = finished
    for row in summary["stages"]:
        counts = context.run.read_stage(row["name"])["layers"]["counts"]
        for reference, found in row["flops_drop"].items():
            total = {k: sum(c[k] for c in counts.values()) for k in counts["conv1"]}
            assert found == 1 - total["effectual"] / total[reference]


def test_the_saved_network_is_the_one_reported(finished):
    context, summary = finished
    weights = train.load_weights(context.run.path, sharding=context.sharding)
    assert records.params_sha256(weights.params) == summary["params_sha256"]
    zeros = sum(int((w == 0).sum()) for w in jax.tree.leaves(weights.params))
    held = sum(int((~m).sum()) for m in jax.tree.leaves(weights.mask))
    assert held == round(0.6 * 44_190)
    assert zeros >= held
    found = context.evaluate(weights, context.dataset.test, count=True)
    last = summary["stages"][-1]
    assert found.top1 == last["top1"]
    assert cost.drop(found.counts, reference="dense") == last["flops_drop"]["dense"]


def test_a_second_run_is_bit_identical_and_another_seed_is_not(
    make_setup, three_stages, trained, tmp_path
):
    stages = three_stages()[:1]
    again = train.train(make_setup(tmp_path / "again"), stages, config={})
    other = train.train(make_setup(tmp_path / "other", seed=1), stages, config={})
    assert again["params_sha256"] == trained[1]["params_sha256"]
    assert other["params_sha256"] != trained[1]["params_sha256"]


def test_an_interrupted_run_ends_bit_identical(
    make_setup, three_stages, finished, tmp_path, monkeypatch
):
    context = make_setup(tmp_path / "interrupted")
    asked = itertools.count()
    stops = np.random.default_rng(0).choice(np.arange(3, 30), 3, replace=False)
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) in stops)
    for _ in stops:
        with pytest.raises(train.Interrupted):
            train.train(context, three_stages(), config={})
    summary = train.train(context, three_stages(), config={})
    assert summary["params_sha256"] == finished[1]["params_sha256"]
    lines = [m for m in context.run.read_metrics() if m["kind"] == "train"]
    for phase in ("pretrain", "induce", "finetune", "sparsify_activations"):
        own = [m["step"] for m in lines if m["phase"] == phase]
        assert own == sorted(set(own))
        assert own[-1] == 8


def _newest(context, stage):
    folder = context.run.checkpoints / stage
    return max(
        (p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    )


@pytest.fixture(scope="module")
def trained(make_setup, three_stages, tmp_path_factory):
    """A finished first stage with checkpoints at steps 6 and 8."""
    context = make_setup(tmp_path_factory.mktemp("trained"), save_every=3)
    return context.run.path, train.train(context, three_stages()[:1], config={})


def _damage(path, how):
    if how == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("how", ["delete", "truncate"])
def test_damage_to_any_file_is_seen(trained, tmp_path, how):
    folder = trained[0] / "checkpoints" / "pretrain" / "8"
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    assert len(files) > 10
    assert find_fault(folder) is None
    for i, name in enumerate(files):
        copy = tmp_path / str(i)
        shutil.copytree(folder, copy)
        _damage(copy / name, how)
        fault = find_fault(copy)
        # Truncated by a byte, the commit marker still says what it is there to say.
        harmless = name.name == "commit_success.txt" and len(name.parts) == 1
        assert fault is not None or (harmless and how == "truncate"), name


@pytest.mark.parametrize("victim", ["params", "metrics"])
def test_a_damaged_checkpoint_is_passed_over_and_said(
    make_setup, three_stages, trained, tmp_path, victim
):
    path, expected = trained
    shutil.copytree(path, tmp_path / "run")
    context = make_setup(tmp_path / "run", save_every=3)
    newest = _newest(context, "pretrain")
    files = sorted(newest.rglob("*"), key=lambda p: p.is_file() and p.stat().st_size)
    _damage(files[-1] if victim == "params" else newest / "metrics/metrics", "truncate")
    said = []
    object.__setattr__(context.console, "say", said.append)
    summary = train.train(context, three_stages()[:1], config={})
    assert summary["params_sha256"] == expected["params_sha256"]
    assert any(str(newest) in line and "using the one before" in line for line in said)
    assert any("resuming at step 6/8" in line for line in said)
    assert newest.with_name("8.damaged").is_dir()


@pytest.mark.parametrize("all_of_them", [False, True])
def test_bytes_changed_in_place_are_passed_over_too(
    make_setup, three_stages, trained, tmp_path, all_of_them
):
    path, expected = trained
    shutil.copytree(path, tmp_path / "run")
    context = make_setup(tmp_path / "run", save_every=3)
    folder = context.run.checkpoints / "pretrain"
    for checkpoint in folder.glob("[68]" if all_of_them else "8"):
        for file in (checkpoint / "weights").rglob("*"):
            if file.is_file():
                file.write_bytes(b"x" * file.stat().st_size)
    said = []
    object.__setattr__(context.console, "say", said.append)
    summary = train.train(context, three_stages()[:1], config={})
    assert summary["params_sha256"] == expected["params_sha256"]
    then = "starting over" if all_of_them else "using the one before"
    assert any(str(folder / "8") in line and then in line for line in said)


@pytest.mark.slow
def test_a_non_finite_loss_names_step_and_checkpoint(make_setup, tmp_path):
    def diverging(**_):
        import optax

        return optax.chain(
            optax.scale_by_schedule(lambda t: -1.0 * (t >= 10) * 1e38),
        )

    context = make_setup(tmp_path, log_every=100)
    stage = Stage(name="pretrain", epochs=2, optimizer=diverging)
    with pytest.raises(train.NonFiniteLoss) as caught:
        train.train(context, [stage], config={})
    assert caught.value.step == 12
    newest = _newest(context, "pretrain")
    assert newest.name == "8"
    assert f"the last good checkpoint is {newest}" in str(caught.value)


def test_the_control_does_not_change_the_other_stages(
    make_setup, three_stages, optimizer, finished, tmp_path
):
    stages = three_stages()
    extra = control(epochs=1, optimizer=optimizer, start="pretrain")
    context = make_setup(tmp_path / "control")
    summary = train.train(context, [stages[0], extra, *stages[1:]], config={})
    assert [r["name"] for r in summary["stages"]][:2] == ["pretrain", "control"]
    assert summary["stages"][1]["weight_sparsity"] == 0
    assert summary["params_sha256"] == finished[1]["params_sha256"]


def test_a_stage_alone_starts_from_any_checkpoint(
    make_setup, three_stages, optimizer, finished, tmp_path
):
    first, _ = finished
    start = first.run.checkpoints / "sparsify_weights.finetune"
    weights = train.load_weights(start, sharding=first.sharding)
    context = make_setup(tmp_path / "alone")
    stages = [train.stages.initial(optimizer), three_stages()[-1]]
    stages[-1] = replace(stages[-1], start="initial")
    summary = train.train(context, stages, config={}, init=weights)
    assert summary["params_sha256"] == finished[1]["params_sha256"]
    initial = summary["stages"][0]
    assert initial["top1"] == finished[1]["stages"][1]["top1"]
    assert initial["weight_sparsity"] == finished[1]["stages"][1]["weight_sparsity"]


def test_weights_of_another_model_are_refused(make_setup, finished):
    context, _ = finished
    weights = train.load_weights(context.run.path, sharding=context.sharding)
    wrong = weights.with_params({**weights.params, "fc9": {}})
    wrong.params["fc1"] = {"kernel": wrong.params["fc1"]["kernel"]}
    with pytest.raises(ValueError, match=r"fc1/bias: the model has \(120,\)"):
        context.check_weights(wrong)


def test_no_checkpoint_is_an_error(tmp_path, make_setup):
    with pytest.raises(ValueError, match="no intact checkpoint at"):
        train.load_weights(tmp_path, sharding=make_setup(tmp_path).sharding)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive multiple of the 1 devices"),
        ({"batch_size": 5000}, "batch_size must be at most the 1078 training"),
        ({"eval_batch_size": -1}, "eval_batch_size must be a positive multiple"),
    ],
)
def test_bad_batch_sizes_are_named(make_setup, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_setup(tmp_path, **options)
