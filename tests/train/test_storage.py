"""Bits of the tensors of a network, against formulas in Python integers."""

import math

import numpy as np
import pytest

from dst_jax import models, pruning, train
from dst_jax.trees import named_leaves

BITS = 12


def expected(array, bits):
    """Of the formats whose size follows from the number of nonzeros."""
    array = np.asarray(array)
    n, nonzeros = array.size, np.count_nonzero(array)
    widths = [math.ceil(math.log2(size)) for size in array.shape]
    rows, columns = n // array.shape[-1], math.ceil(math.log2(array.shape[-1]))
    return {
        "dense": n * bits,
        "bitmask": n + nonzeros * bits,
        "zvc": 32 * math.ceil(n / 32) + nonzeros * bits,
        "coo": nonzeros * (bits + sum(widths)),
        "csr": nonzeros * (bits + columns) + (rows + 1) * math.ceil(math.log2(n + 1)),
    }


@pytest.mark.slow
def test_every_tensor_is_there_with_its_bits(make_setup, tmp_path):
    model = models.create("mlp", num_classes=10, hidden=(8,))
    context = make_setup(tmp_path, model=model)
    network = context.fresh_weights()
    mask = pruning.masks.magnitude(network.params, 0.9)
    network = network.with_params(pruning.masks.apply(mask, network.params))
    found = train.storage(context, network, value_bits=BITS, examples=4)
    assert (found["value_bits"], found["examples"]) == (BITS, 4)
    weights = named_leaves(network.params)
    tensors = {(t["kind"], t["name"]): t for t in found["tensors"]}
    assert [name for kind, name in tensors if kind == "weight"] == list(weights)
    assert [name for kind, name in tensors if kind == "map"] == context.map_names
    for name, array in weights.items():
        own = tensors["weight", name]
        assert own["nonzeros"] == np.count_nonzero(array)
        assert own["bits"].items() >= expected(array, BITS).items()
    for own in tensors.values():
        assert own["bits"][own["smallest"]] == min(own["bits"].values())
        assert own["nonzeros"] <= own["elements"]
    assert tensors["map", context.map_names[0]]["elements"] == 4 * 8
    assert tensors["weight", "fc1/kernel"]["smallest"] != "dense"
