"""Kernels by the names and shapes of leaves."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core import freeze

from dst_jax import kernels
from dst_jax.kernels import Kernel

DENSE, CONV = Kernel((), (), (0,), (1,)), Kernel((), (0, 1), (2,), (3,))


def test_kernels_of_linen():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(x))
            return nn.Dense(5)(x)

    variables = jax.eval_shape(Net().init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    found = kernels.by_name(variables)
    assert found == {"params/Conv_0/kernel": CONV, "params/Dense_0/kernel": DENSE}
    assert "batch_stats/BatchNorm_0/mean" in found.leaves
    assert found.conflicts == {}
    assert kernels.by_name(freeze(variables)) == found


def test_kernels_of_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs)])

    state = nnx.state(Net(nnx.Rngs(0)))
    found = kernels.by_name(state)
    assert found == {"conv/kernel": CONV, "layers/0/kernel": DENSE}
    assert kernels.of(nnx.to_pure_dict(state), found) == {
        "conv/kernel": CONV,
        "layers/0/kernel": DENSE,
    }


def test_kernels_of_equinox_have_outputs_first():
    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        mlp: eqx.nn.MLP  # holds functions as leaves
        embedding: eqx.nn.Embedding
        size: int = eqx.field(static=True)

    def make(key):
        conv = eqx.nn.Conv2d(3, 4, 3, key=key)
        mlp = eqx.nn.MLP(4, 2, 8, 1, key=key)
        return Net(conv, mlp, eqx.nn.Embedding(9, 4, key=key), 7)

    net = eqx.filter_eval_shape(make, jax.random.key(0))
    found = kernels.by_name(net)
    assert found == {
        "conv/weight": Kernel((), (2, 3), (1,), (0,)),
        "mlp/layers/0/weight": Kernel((), (), (1,), (0,)),
        "mlp/layers/1/weight": Kernel((), (), (1,), (0,)),
    }


def test_other_leaves_of_many_axes_are_no_kernels():
    tree = {
        "attn": {"query": {"kernel": jnp.ones((4, 2, 2)), "bias": jnp.ones((2, 2))}},
        "blocks": {"norm": {"scale": jnp.ones((3, 4)), "bias": jnp.ones((3, 4))}},
        "cls_token": jnp.ones((1, 1, 4)),
        "embed": {"embedding": jnp.ones((9, 4))},
        "layer_scale": jnp.ones((1, 1, 4)),
        "pos_embedding": jnp.ones((1, 5, 4)),
        "w": jnp.ones((2, 2), jnp.int32),
        "mask": {"kernel": jnp.ones((2, 2), bool)},
        "keys": {"kernel": jax.random.split(jax.random.key(0), (2, 2))},
        "vector": {"kernel": jnp.ones(3)},
        "nothing": {"kernel": None},
    }
    assert list(kernels.by_name(tree)) == ["attn/query/kernel"]


def test_leaves_under_auxiliary_names_are_no_kernels():
    tree = {
        "DyReLU_1": {"Dense_0": {"kernel": jnp.ones((2, 2))}},
        "gates": {"conv1": {"kernel": jnp.ones((2, 2))}},
        "fc": {"kernel": jnp.ones((2, 2))},
    }
    assert list(kernels.by_name(tree)) == ["fc/kernel"]
    assert "dyrelu" in kernels.auxiliary


def test_a_tree_without_any_of_the_names_follows_no_convention():
    assert kernels.by_name([jnp.ones((2, 3)), jnp.ones(3), [jnp.ones((3, 1))]]) == {
        "0": DENSE,
        "2/0": DENSE,
    }
    tree = {"a": np.ones((2, 3)), "pos_emb": np.ones((2, 3)), "tokens": np.ones((2, 3))}
    tree |= {"biases": [np.ones((2, 3))], "scale": np.ones((2, 3))}
    assert list(kernels.by_name(tree)) == ["a"]
    assert kernels.by_name(jnp.ones((3, 3, 2, 4))) == {"": CONV}


def test_numbers_are_no_names():
    assert list(kernels.by_name({"w": [jnp.ones((2, 2))], "a": jnp.ones((2, 2))})) == [
        "w/0"
    ]
    assert list(
        kernels.by_name({"patchEmbed": {"weight": jnp.ones((2, 3, 4, 4))}})
    ) == ["patchEmbed/weight"]


@pytest.mark.parametrize("tree", [{"fc": {"kernel": 0}}, {"fc": {"a": 0}}])
def test_complex_kernels_are_refused_by_name(tree):
    complex_tree = jax.tree.map(lambda _: jnp.ones((2, 2), jnp.complex64), tree)
    with pytest.raises(
        ValueError, match=r"fc/(kernel|a) is a kernel of type complex64"
    ):
        kernels.by_name(complex_tree)
    assert kernels.by_name({"bias": jnp.ones((2, 2), jnp.complex64)}) == {}


def test_weights_of_normalisation_are_no_kernels():
    names = ["norm", "norm1", "norm_2", "layerNorm", "batchnorm", "groupnorm3", "norms"]
    names += ["bn", "bn1", "ln_f", "ln_1", "post_ln"]
    tree = {name: {"weight": jnp.ones((5, 8))} for name in names}
    tree |= {name: {"weight": jnp.ones((5, 8))} for name in ("fc", "normal", "bnet")}
    tree["norms"] = [tree["norms"]]
    assert sorted(kernels.by_name(tree)) == [
        "bnet/weight",
        "fc/weight",
        "normal/weight",
    ]
    assert list(
        kernels.by_name({"norm": eqx.nn.LayerNorm((5, 8)), "fc": tree["fc"]})
    ) == ["fc/weight"]
