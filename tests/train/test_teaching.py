"""Teachers' answers and statistics that are measured anew."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.models.linen import Linen
from dst_jax.models.networks.normalization import batch_norm
from dst_jax.train.batch_statistics import re_estimated
from dst_jax.train.teaching import Taught, base_decayed_kl, untaught
from dst_jax.typing import Network


def test_the_gradient_of_the_base_decayed_divergence():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 7))
    soft = np.exp(teacher / 4) / np.exp(teacher / 4).sum(1, keepdims=True)
    own = np.exp(student) / np.exp(student).sum(1, keepdims=True)
    expected = 16 * (soft * (np.log(soft) - np.log(own) / 6.0)).sum(1)
    x, t = jnp.asarray(student, jnp.float32), jnp.asarray(teacher, jnp.float32)
    found, vjp = jax.vjp(lambda x: base_decayed_kl(x, t, base=6.0), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(
        vjp(jnp.ones(5))[0], 16 / 6.0 * (own - soft), rtol=1e-4, atol=1e-5
    )


class _Normalised(nn.Module):
    """Batch normalisation and nothing else."""

    @nn.compact
    def __call__(self, x, *, train=False):
        return batch_norm(name="norm", train=train)(x)


@pytest.fixture(scope="module")
def normalised():
    model = Linen(_Normalised())
    x = np.random.default_rng(0).normal(size=(64, 3)) * [1, 2, 5] + 3
    x = jnp.asarray(x, jnp.float32)
    return Network(model, model.init(jax.random.key(1), x)), x


def test_statistics_are_the_means_over_batches(normalised):
    network, x = normalised
    batches = [np.asarray(x[:32], np.float64), np.asarray(x[32:], np.float64)]
    found = re_estimated(network, [x[:32], x[32:]]).variables["batch_stats"]["norm"]
    mean = np.mean([b.mean(0) for b in batches], axis=0)
    var = np.mean([b.var(0, ddof=1) for b in batches], axis=0)
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(found["var"], var, rtol=1e-5)
    moved = jax.tree.map(lambda s: 7 * s + 1, network.variables["batch_stats"])
    moved = network._replace(variables={**network.variables, "batch_stats": moved})
    again = re_estimated(moved, [x[:32], x[32:]]).variables["batch_stats"]["norm"]
    np.testing.assert_array_equal(again["var"], found["var"])
    with pytest.raises(ValueError, match="batches is empty"):
        re_estimated(network, [])


def test_a_taught_network_is_its_student_with_one_map_more(normalised):
    network, x = normalised
    teacher = jax.tree.map(lambda w: 2 * w, network)
    taught = Taught.network(network, teacher)
    outputs, maps, _ = taught.model(taught.variables, x)
    assert not maps
    np.testing.assert_array_equal(outputs, network.model(network.variables, x)[0])
    trained, maps, updated = taught.model(taught.variables, x, train=True)
    expected = base_decayed_kl(trained, 2 * trained, base=1.0)
    np.testing.assert_allclose(maps["distillation"], expected, rtol=1e-5)
    cold = Taught.network(network, teacher, temperature=1.0)
    trained, maps, _ = cold.model(cold.variables, x, train=True)
    expected = base_decayed_kl(trained, 2 * trained, base=1.0, temperature=1.0)
    np.testing.assert_allclose(maps["distillation"], expected, rtol=1e-5)
    assert updated.keys() == {"batch_stats"}
    assert untaught(taught).variables.keys() == network.variables.keys()

    def picture(variables, x, *, train=False, rngs=None):
        return x[:, None], {}, {}

    wide = Taught.network(network._replace(model=picture), teacher)
    with pytest.raises(ValueError, match="logits"):
        wide.model(wide.variables, x, train=True)
