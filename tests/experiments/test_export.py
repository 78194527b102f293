"""A run that prunes an MLP without training it, exported."""

import hashlib
import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, data, models, penalties, pruning, train
from dst_jax.models import export as model_export
from dst_jax.models.torch import importer as torch_import
from dst_jax.runs import Run
from dst_jax.train.stage_order import directory_of
from experiments import export
from experiments.running.config_record import from_nested

CONFIG = {
    "model": {"name": "mlp", "stem": None, "dtype": "float32"},
    "data": {"name": "digits", "image_size": None},
}


def _optimizer(*, mask, **_):
    return train.chain(0.1, mask=mask)


def _run(path, stages):
    run = Run(path)
    dataset = data.load("digits")
    dataset = replace(dataset, test=replace(dataset.test, indices=np.arange(100)))
    context = train.Context(
        model=models.create("mlp", num_classes=10),
        dataset=dataset,
        run=run,
        batch_size=100,
        eval_batch_size=100,
        console=train.Console(quiet=True),
    )
    stages = [train.stages.pretrain(epochs=0, optimizer=_optimizer), *stages]
    names = list(dict.fromkeys(stage.name for stage in stages))
    record = {"config": CONFIG, "stages": names, "command": "", "seed": 0}
    run.write_config({**record, **train.records.provenance()})
    train.train(context, stages, config=CONFIG)
    return run.path


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    pruned = train.stages.sparsify_weights(
        prune=partial(pruning.masks.magnitude, sparsity=0.8),
        induce_epochs=0,
        finetune_epochs=0,
        optimizer=_optimizer,
        penalty=None,
        start="pretrain",
    )
    thresholds = train.stages.sparsify_activations(
        epochs=0,
        optimizer=_optimizer,
        penalty=train.Term(penalties.l1, 0.0),
        start="sparsify_weights",
        thresholding=train.stages.Thresholding(0.125),
        patterning=train.stages.Patterning((("", "2:4"),)),
    )
    return _run(tmp_path_factory.mktemp("runs") / "pruned", [*pruned, *thresholds])


def _sparse(variables, card):
    """Variables from a file of weights, with what the card says of the maps."""
    thresholds = {name: t["hard"] for name, t in card["thresholds"].items()}
    assert thresholds == {"relu1": 0.125, "relu2": 0.125}
    variables = activations.with_patterns(variables, card["patterns"])
    return activations.with_thresholds(variables, thresholds)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["dense", "csr"])
def test_a_run_is_exported(run_dir, tmp_path, capsys, format):
    arguments = [str(run_dir), "--out", str(tmp_path), "--format", format]
    assert export.main([*arguments, "--stablehlo"]) == 0
    said = capsys.readouterr().out
    names = ["model.safetensors", "model.masks.safetensors", "model.stablehlo"]
    card = json.loads((tmp_path / "card.json").read_text())
    assert [file["name"] for file in card["files"]] == names
    for file in card["files"]:
        content = (tmp_path / file["name"]).read_bytes()
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert f"{file['name']}: {len(content):,} bytes" in said
    summary = json.loads((run_dir / "summary.json").read_text())
    assert card["params_sha256"] == summary["params_sha256"]
    assert card["accuracy"]["top1"] == summary["stages"][-1]["top1"]
    assert card["sparsity"]["weights"] == 0.8

    variables = torch_import.load("mlp", tmp_path / names[0], input_shape=(16, 16, 1))
    digest = train.records.params_sha256(variables["params"])
    assert digest == summary["params_sha256"]
    zeros = sum(int((x == 0).sum()) for x in jax.tree.leaves(variables) if x.ndim > 1)
    masks = model_export.load_compressed(tmp_path / names[1])
    assert sum(int((~mask).sum()) for mask in masks.values()) == zeros
    program = jax.export.deserialize((tmp_path / names[2]).read_bytes())
    x = jnp.ones((2, 16, 16, 1))
    assert card["patterns"] == {"relu1": "2:4", "relu2": "2:4"}
    variables = _sparse(variables, card)
    model = models.create("mlp", num_classes=10)
    expected = jax.jit(model.apply)(variables, x)
    np.testing.assert_allclose(program.call(x), expected, atol=1e-5)


@pytest.mark.slow
def test_an_earlier_stage_is_dense_and_lands_in_the_run(run_dir):
    assert export.main([str(run_dir), "--stage", "pretrain"]) == 0
    written = {path.name for path in (run_dir / "export").iterdir()}
    assert written == {"model.safetensors", "card.json"}
    card = json.loads((run_dir / "export" / "card.json").read_text())
    assert card["stage"] == "pretrain"
    assert card["sparsity"]["weights"] == 0.0


@pytest.mark.slow
def test_what_cannot_be_exported_is_refused(run_dir, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert export.main([str(tmp_path), *out]) == 2
    assert "is not a run" in capsys.readouterr().err
    assert export.main([str(run_dir), *out, "--stage", "control"]) == 2
    assert "--stage must be one of ['pretrain'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_another_network_than_was_evaluated_is_refused(run_dir):
    run = Run(run_dir, writer=False)
    stage = run.read_stage("sparsify_weights")
    stage["layers"]["weights"]["fc1/kernel"]["zeros"] += 1
    with pytest.raises(ValueError, match="not the network that the card would"):
        export._network(run, stage, from_nested(CONFIG), num_classes=10)


@pytest.mark.slow
def test_the_last_phase_is_not_the_newest_directory(run_dir):
    """Copies and notes change times: the order is that of the stages."""
    run = Run(run_dir, writer=False)
    (run.checkpoints / "sparsify_weights.induce" / "note").mkdir(parents=True)
    found = directory_of(run, "sparsify_weights")
    assert found.name == "sparsify_weights.finetune"


@pytest.mark.slow
def test_a_run_that_removed_channels_is_exported(tmp_path):
    """The file has the smaller shapes, and the card says what they are."""
    choice = train.stages.UnitChoice(ratio=0.5, scope="group")
    stages = train.stages.remove_channels(
        choice=choice, epochs=0, optimizer=_optimizer, start="pretrain"
    )
    run = _run(tmp_path / "run", stages)
    assert export.main([str(run), "--stablehlo"]) == 0
    card = json.loads((run / "export" / "card.json").read_text())
    groups = card["channels"]["groups"]
    halves = {"fc1": (150, 300), "fc2": (50, 100)}
    assert {n: (g["kept"], g["whole"]) for n, g in groups.items()} == halves
    tensors = model_export.load_compressed(run / "export" / "model.safetensors")
    listed = card["channels"]["tensors"]
    assert tensors["fc2.weight"].shape == (50, 150)
    assert {n: list(tensors[n].shape) for n in listed} == {
        n: entry["shape"] for n, entry in listed.items()
    }
    program = (run / "export" / "model.stablehlo").read_bytes()
    x = np.random.default_rng(0).random((3, 16, 16, 1), np.float32)
    y = x.transpose(0, 3, 1, 2).reshape(3, -1)
    for i in (1, 2, 3):
        y = y @ tensors[f"fc{i}.weight"].T + tensors[f"fc{i}.bias"]
        y = np.maximum(y, 0) if i < 3 else y
    np.testing.assert_allclose(jax.export.deserialize(program).call(x), y, atol=1e-5)


@pytest.mark.slow
def test_an_onnx_model_is_written(run_dir, tmp_path):
    pytest.importorskip("jax2onnx")
    import onnxruntime

    assert export.main([str(run_dir), "--out", str(tmp_path), "--onnx"]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["files"][-1]["name"] == "model.onnx"
    x = jnp.asarray(np.random.default_rng(0).random((3, 16, 16, 1), np.float32))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {"x": np.asarray(x)})
    path = tmp_path / "model.safetensors"
    variables = torch_import.load("mlp", path, input_shape=(16, 16, 1))
    variables = _sparse(variables, card)
    expected = models.create("mlp", num_classes=10).apply(variables, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
