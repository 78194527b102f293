"""The benchmark beside NeuroBench: its own integers, and what it says without it."""

import jax
import numpy as np
import pytest

from benchmarks import neurobench
from dst_jax import cost


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(neurobench, "find_spec", {"torch": 1}.get)
    with pytest.raises(SystemExit, match=r"neurobench cannot .* torch neurobench"):
        neurobench.check_installed()
    monkeypatch.setattr(neurobench, "find_spec", lambda name: name)
    neurobench.check_installed()


@pytest.mark.torch
@pytest.mark.slow
def test_products_by_window_are_those_of_cost_count():
    """A convolution with groups, stride, padding and dilation, and a linear layer."""
    torch = pytest.importorskip("torch")
    options = {"stride": (2, 1), "padding": (2, 1), "dilation": (1, 2), "groups": 2}
    conv = torch.nn.Conv2d(4, 6, (3, 2), **options)
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-1, 2, s).astype("f") for s in ((3, 4, 9, 7), (6, 2, 3, 2)))
    conv.weight.data = torch.from_numpy(w)

    def convolve(w, x):
        pads = [(2, 2), (1, 1)]
        return jax.lax.conv_general_dilated(
            x, w, (2, 1), pads, rhs_dilation=(1, 2), feature_group_count=2
        )

    found = int(cost.total(cost.count(convolve)(w, x)).effectual)
    assert neurobench.products(x, conv) == found
    linear = torch.nn.Linear(7, 2)
    linear.weight.data = torch.from_numpy(rng.integers(-1, 2, (2, 7)).astype("f"))
    w = linear.weight.detach().numpy()
    found = int(cost.total(cost.count(lambda w, x: x @ w.T)(w, x)).effectual)
    assert neurobench.products(x, linear) == found
