"""Networks that `torch.nn.utils.prune` has pruned, and what Lightning saves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from dst_jax import pruning, trees
from dst_jax.models.torch import importer
from dst_jax.models.torch.layout import layout_of


def _state_dict():
    rng = np.random.default_rng(0)
    leaves = layout_of("lenet5").leaves.values()
    return {x.name: rng.normal(size=x.torch_shape).astype(np.float32) for x in leaves}


def _pruned(state, *names):
    """The state dict, and its masks, after `prune.random_unstructured`."""
    rng, pruned, masks = np.random.default_rng(1), dict(state), {}
    for name in names:
        masks[name] = rng.random(state[name].shape) < 0.25
        pruned[f"{name}_orig"] = pruned.pop(name)
        pruned[f"{name}_mask"] = masks[name].astype(np.float32)
    return pruned, masks


def _same(a, b):
    a, b = trees.named_leaves(a), trees.named_leaves(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]), name)


@pytest.mark.parametrize("prefix", ["", "model.", "net.", "module._orig_mod.model."])
def test_weights_are_multiplied_and_masks_returned(prefix, tmp_path):
    state = _state_dict()
    pruned, masks = _pruned(state, "conv2.weight", "fc1.weight", "fc1.bias")
    product = state | {name: state[name] * mask for name, mask in masks.items()}
    saved = {prefix + name: array for name, array in pruned.items()}
    save_file(saved, tmp_path / "net.safetensors")
    expected = importer.variables("lenet5", product)
    _same(importer.variables("lenet5", saved), expected)
    _same(importer.load("lenet5", tmp_path / "net.safetensors"), expected)
    found = importer.masks("lenet5", tmp_path / "net.safetensors")
    assert found["conv1"] == {"kernel": None, "bias": None}
    conv2 = masks["conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["conv2"]["kernel"], conv2)
    np.testing.assert_array_equal(found["fc1"]["bias"], masks["fc1.bias"])
    _same(importer.masks("lenet5", saved), found)


def test_the_masks_hold_in_training():
    pruned, masks = _pruned(_state_dict(), "fc1.weight")
    params = importer.variables("lenet5", pruned)["params"]
    mask = importer.masks("lenet5", pruned)
    tx = optax.chain(optax.sgd(0.1), pruning.apply_mask(mask))
    ones = jax.tree.map(jnp.ones_like, params)
    updates, _ = tx.update(ones, tx.init(params), params)
    moved = optax.apply_updates(params, updates)["fc1"]["kernel"]
    np.testing.assert_array_equal(moved[~masks["fc1.weight"].T], 0)
    assert (moved != 0).sum() == masks["fc1.weight"].sum()


def test_nothing_pruned_has_no_masks():
    assert importer.masks("lenet5", _state_dict()) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc3.weight": np.ones((10, 84))}, "fc3.weight is there both whole and pru"),
        (
            {"fc3.weight_mask": np.ones(3)},
            r"fc3.weight_mask is \(3,\), must be \(10, 8",
        ),
        ({"fc3.weight_mask": np.full((10, 84), 0.5)}, "fc3.weight_mask must be of zer"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(change, message):
    pruned, _ = _pruned(_state_dict(), "fc3.weight")
    for read in (importer.variables, importer.masks):
        with pytest.raises(ValueError, match=message):
            read("lenet5", pruned | change)


def test_a_mask_of_no_parameter_is_refused():
    alone = {"fc9.weight_orig": np.ones(3), "fc9.weight_mask": np.ones(3)}
    with pytest.raises(ValueError, match=r"fc9.weight_mask is .* no parameter of the"):
        importer.masks("lenet5", _state_dict() | alone)


def test_pytorch_prunes(torch):
    """Its own function, on a live module in one of Lightning's."""
    from torch.nn.utils import prune

    layer = torch.nn.Linear(84, 10)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    state = {f"model.{name}": array for name, array in _state_dict().items()}
    for name, tensor in layer.state_dict().items():
        state[f"model.fc3.{name}"] = tensor
    del state["model.fc3.weight"]
    checkpoint = {"state_dict": state, "epoch": 3, "pytorch-lightning_version": "2.5"}
    found = importer.variables("lenet5", checkpoint)["params"]["fc3"]["kernel"]
    np.testing.assert_array_equal(found, layer.weight.detach().numpy().T)
    mask = importer.masks("lenet5", checkpoint)["fc3"]["kernel"]
    assert int(mask.sum()) == 420
