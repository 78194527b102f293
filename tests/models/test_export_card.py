import json

import pytest

from dst_jax.models import export

RUN = {
    "config": {"model": {"name": "lenet5", "stem": None}, "data": {"name": "mnist"}},
    "command": "python -m experiments.mnist_lenet5",
    "seed": 3,
    "versions": {"jax": "0.10.2"},
    "git": None,
    "machine": {"hosts": 1},
}
LAYER = {"dense": 10, "valid": 9, "by_activation": 5, "by_weight": 4, "effectual": 2}
STAGE = {
    "name": "pretrain",
    "top1": 0.5,
    "top5": 1.0,
    "loss": 0.75,
    "examples": 8,
    "weight_sparsity": 0.25,
    "activation_sparsity": {"element": 0.5, "layer_mean": 0.375},
    "flops_drop": {"dense": 0.8, "valid": 0.7},
    "layers": {
        "activations": {"relu1": {"zeros": 4, "elements": 8}},
        "weights": {"fc1/kernel": {"zeros": 1, "elements": 4}},
        "counts": {"fc1": LAYER, "fc2": {**LAYER, "effectual": 3}},
    },
}
GIVEN = {"num_classes": 10, "input": {"shape": [28, 28, 1]}, "params_sha256": "ab"}


def test_the_card_says_what_the_records_say():
    files = [{"name": "model.safetensors", "bytes": 5, "sha256": "cd"}]
    card = export.model_card(RUN, STAGE, files=files, **GIVEN)
    assert card["model"] == {"name": "lenet5", "num_classes": 10}
    assert card["accuracy"] == {"top1": 0.5, "top5": 1.0, "loss": 0.75, "examples": 8}
    assert card["sparsity"]["activations"] == {"element": 0.5, "layer_mean": 0.375}
    assert card["sparsity"]["layers"]["weights"] == STAGE["layers"]["weights"]
    assert card["multiplications"]["dense"] == 20
    assert card["multiplications"]["effectual"] == 5
    assert card["multiplications"]["layers"]["fc1"] == LAYER
    assert card["drop"] == {"dense": 0.8, "valid": 0.7}
    assert card["training"]["config"] == RUN["config"]
    assert card["training"]["seed"] == 3
    assert card["files"] == files
    assert json.loads(json.dumps(card)) == card


def test_a_record_without_an_entry_is_named():
    stage = {name: value for name, value in STAGE.items() if name != "top1"}
    with pytest.raises(ValueError, match="no entry 'top1'"):
        export.model_card(RUN, stage, **GIVEN)
