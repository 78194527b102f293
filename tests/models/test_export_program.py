import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, models
from dst_jax.models import export
from dst_jax.models.linen import as_model
from dst_jax.models.smaller import groups_of, smaller_network
from dst_jax.models.torch import importer as torch_import
from dst_jax.models.torch.layout import layout_of
from dst_jax.typing import Network


@pytest.fixture(scope="module")
def program():
    model = models.create("lenet5", num_classes=10)
    rng = np.random.default_rng(0)
    variables = torch_import.variables(
        "lenet5",
        {
            name: 0.1 * rng.normal(size=leaf.torch_shape)
            for name, leaf in layout_of("lenet5").leaves.items()
        },
    )
    return model, variables, export.stablehlo(model.apply, variables, (28, 28, 1))


def test_the_program_is_the_network_for_any_batch(program):
    model, variables, exported = program
    again = jax.export.deserialize(exported.serialize())
    assert again.platforms == ("cpu", "cuda", "tpu")
    assert str(again.in_avals[0].shape) == "(batch, 28, 28, 1)"
    rng = np.random.default_rng(1)
    for batch in (1, 3):
        x = jnp.asarray(rng.random((batch, 28, 28, 1), np.float32))
        logits = again.call(x)
        np.testing.assert_array_equal(logits, exported.call(x))
        expected = jax.jit(model.apply)(variables, x)
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", ["module", "model"])
def test_a_network_is_evaluated(program, model):
    module, variables, exported = program
    wrapped = {"module": module, "model": as_model(module)}[model]
    own = export.stablehlo(Network(wrapped, variables), (28, 28, 1))
    x = jnp.asarray(np.random.default_rng(2).random((3, 28, 28, 1), np.float32))
    np.testing.assert_array_equal(own.call(x), exported.call(x))


def test_it_is_stablehlo_with_the_weights_inside(program):
    _, variables, exported = program
    assert "stablehlo.convolution" in exported.mlir_module()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    assert len(exported.serialize()) > size


def test_a_smaller_network_is_a_program_for_any_batch(program):
    module, variables, _ = program
    network = Network(as_model(module), variables)
    groups = groups_of(network, jnp.ones((1, 28, 28, 1)))
    keep = {name: np.arange(group.size) % 2 == 0 for name, group in groups.items()}
    small = smaller_network(network, groups, keep)
    exported = export.stablehlo(small, (28, 28, 1))
    again = jax.export.deserialize(exported.serialize())
    assert str(again.in_avals[0].shape) == "(batch, 28, 28, 1)"
    for batch in (1, 3):
        x = jnp.asarray(np.random.default_rng(3).random((batch, 28, 28, 1), np.float32))
        expected = jax.jit(small.model)(small.variables, x)[0]
        np.testing.assert_allclose(again.call(x), expected, rtol=1e-5, atol=1e-5)
    alone = channels.smaller(module.apply, groups, keep)
    with pytest.raises(ValueError, match=r"must be numbers, got \(batch, 28, 28, 1\)"):
        export.stablehlo(alone, small.variables, (28, 28, 1))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"platforms must be among .* got \('vax',\)"):
        export.stablehlo(lambda w, x: x, 0.0, (2,), platforms=("vax",))
    with pytest.raises(ValueError, match="input_shape must be at least 1"):
        export.stablehlo(lambda w, x: x, 0.0, (0, 2))
    with pytest.raises(TypeError, match=r"needs \['variables', 'input_shape'\] here"):
        export.stablehlo(lambda w, x: x, (2,))
    with pytest.raises(TypeError, match=r"needs \['input_shape'\] here, got 2"):
        export.stablehlo(Network(print, {"params": {}}), {}, (2,))
