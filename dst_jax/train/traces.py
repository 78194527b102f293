"""What an abstract trace says of a network; nothing is computed."""

from collections.abc import Hashable
from typing import Any

import jax
from jaxtyping import Array

from dst_jax import kernels
from dst_jax.typing import Network, Variables

__all__ = ["kernels_of", "map_names", "shapes_of"]


def kernels_of(network: Network, example: Any) -> kernels.Kernels:
    """The kernels of a network, from its trace in evaluation mode.

    Args:
      network: a network; shapes will do.
      example: an input, or its shape.

    >>> import flax.linen as nn, jax.numpy as jnp
    >>> from dst_jax.train.state import init_network
    >>> x = jnp.ones((1, 2))
    >>> list(kernels_of(init_network(nn.Dense(3), x, jax.random.key(0)), x))
    ['params/kernel']
    """

    def forward(variables: Variables, x: Array) -> Any:
        return network.model(variables, x, train=False, rngs=None)

    return kernels.by_use(forward)(dict(network.variables), example)


def map_names(network: Network, example: Any, *, train: bool = False) -> list[str]:
    """The names of a network's activation maps, in order of execution.

    Args:
      network: a network; shapes will do.
      example: an input, or its shape.
      train: whether those of training, which may be more.

    >>> import flax.linen as nn, jax.numpy as jnp
    >>> from dst_jax.activations import Tap
    >>> from dst_jax.train.state import init_network
    >>> net, x = nn.Sequential([nn.Dense(3), nn.relu, Tap()]), jnp.ones((1, 2))
    >>> map_names(init_network(net, x, jax.random.key(0)), x)
    ['layers_2']
    """

    def forward(network: Network, x: Array) -> Any:
        rngs = {"dropout": jax.random.key(0)} if train else None
        return network.model(network.variables, x, train=train, rngs=rngs)[1]

    return list(jax.eval_shape(forward, network, example))


def shapes_of(tree: Any) -> tuple[Hashable, ...]:
    """The structure of a tree and the shapes and dtypes of its leaves, as a key.

    >>> import jax.numpy as jnp
    >>> shapes_of({"w": jnp.ones(2)}) == shapes_of({"w": jnp.zeros(2)})
    True
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
