from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.activations import keep_top_k, saving_largest, sparsify_saved

X = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))


def network(conv=None, dot=None):
    return nn.Sequential(
        [
            nn.Conv(4, (3, 3), conv_general_dilated=conv),
            nn.relu,
            lambda x: x.reshape(3, -1),
            nn.Dense(5, dot_general=dot),
            nn.Dense(2),
        ]
    )


@jax.jit
def gradients(variables, seed):
    """Those in the context, those of the layers as one writes them, those without."""
    model = network()
    conv = sparsify_saved(jax.lax.conv_general_dilated, partial(keep_top_k, k=8))
    dot = sparsify_saved(jax.lax.dot_general, partial(keep_top_k, k=16))

    def loss(variables, model):
        return (model.apply(variables, X) * seed).sum()

    def within(variables):
        with saving_largest(0.75, rules=[("^layers_4/", False)]):
            return loss(variables, model)

    written = partial(loss, model=network(conv, dot))
    dense = partial(loss, model=model)
    return [jax.value_and_grad(fn)(variables) for fn in (within, written, dense)]


@pytest.mark.slow
def test_it_is_as_layers_that_save_the_largest():
    variables = network().init(jax.random.key(1), X)
    (value, found), (_, written), (same, dense) = gradients(variables, jnp.ones((3, 2)))
    assert value == same
    for name in ("layers_0", "layers_3", "layers_4"):
        kernels = [tree["params"][name]["kernel"] for tree in (found, written, dense)]
        np.testing.assert_array_equal(*kernels[:2])
        differs = abs(kernels[0] - kernels[2]).max() > 1e-3
        assert differs == (name != "layers_4")


def test_operations_that_a_layer_makes_are_wrapped_too():
    layer = nn.Dense(1, use_bias=False, dot_general_cls=lambda: jax.lax.dot_general)
    kernel, x = jnp.ones((4, 1)), jnp.array([[1.0, 2.0, 3.0, 4.0]])

    def loss(kernel):
        with saving_largest(0.5):
            return layer.apply({"params": {"kernel": kernel}}, x).sum()

    assert jax.grad(loss)(kernel).ravel().tolist() == [0.0, 0.0, 3.0, 4.0]


def test_refuses():
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\), got 1.0"):
        saving_largest(1.0).__enter__()
    with pytest.raises(ValueError, match="none was traced"), saving_largest(0.5):
        nn.relu(X)
    layer = nn.Dense(1)
    rules = [("kernel", False)]
    none_left = pytest.raises(ValueError, match=r"none was traced .* \[\('kernel'")
    with none_left, saving_largest(0.5, rules=rules):
        jax.eval_shape(layer.init, jax.random.key(0), X)
