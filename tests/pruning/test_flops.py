import pytest

from dst_jax.pruning import training_flops

MACS = {"conv1": 1000, "conv2": 4000, "fc": 200}
DENSITIES = {"conv1": 0.5, "conv2": 0.1}
SPARSE = 500 + 400 + 200
DENSE = 5200


@pytest.mark.parametrize(
    ("every", "total"),
    [
        (None, 3 * SPARSE),
        (1, 2 * SPARSE + DENSE),
        (100, (3 * SPARSE * 100 + 2 * SPARSE + DENSE) / 101),
    ],
)
def test_formulas_by_hand(every, total):
    found = training_flops(MACS, DENSITIES, dense_gradient_every=every)
    assert found.forward == found.input_gradients == SPARSE
    assert found.total == pytest.approx(total, rel=1e-12)
    assert found.dense == 3 * DENSE
    assert found.relative == pytest.approx(total / (3 * DENSE), rel=1e-12)


def test_a_dense_network_costs_what_dense_training_costs():
    for every in (None, 1, 100):
        assert training_flops(MACS, {}, dense_gradient_every=every).relative == 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"densities names \['conv3'\], not in"):
        training_flops(MACS, {"conv3": 0.5})
    with pytest.raises(ValueError, match=r"density of fc must be in \[0, 1\], got 2"):
        training_flops(MACS, {"fc": 2})
    with pytest.raises(
        ValueError, match=r"dense_gradient_every must be .* >= 1, got 0"
    ):
        training_flops(MACS, {}, dense_gradient_every=0)
