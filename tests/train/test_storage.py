"""Bits of the tensors of a network, against formulas in Python integers."""

import math

import jax
import numpy as np
import pytest

from dst_jax import train
from dst_jax.typing import Network

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


def rectified(variables, x, *, train=False, rngs=None):
    del train, rngs
    hidden = jax.nn.relu(x.reshape(len(x), -1)[:, :12] @ variables["params"]["kernel"])
    return hidden, {"relu": hidden}, {}


@pytest.mark.slow
def test_every_tensor_is_there_with_its_bits(make_setup, tmp_path):
    kernel = np.zeros((12, 10), np.float32)
    kernel[::4, 3] = 1
    network = Network(rectified, {"params": {"kernel": kernel}})
    found = train.storage(make_setup(tmp_path), network, value_bits=BITS, examples=4)
    assert (found["value_bits"], found["examples"]) == (BITS, 4)
    weight, activation = found["tensors"]
    assert (weight["kind"], weight["name"]) == ("weight", "kernel")
    assert (weight["elements"], weight["nonzeros"]) == (120, 3)
    assert weight["bits"].items() >= expected(kernel, BITS).items()
    assert (activation["kind"], activation["name"]) == ("map", "relu")
    assert activation["elements"] == 4 * 10
    for own in found["tensors"]:
        assert own["bits"][own["smallest"]] == min(own["bits"].values())
    assert weight["smallest"] == "coo"  # 3 * (12 + 4 + 4) bits
