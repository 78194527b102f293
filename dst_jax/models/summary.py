"""What a network is made of: layers, shapes, parameters, products, maps."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dst_jax import cost, trees
from dst_jax.activations.tap import Tap
from dst_jax.typing import is_traced

__all__ = ["Layer", "grouped", "layers"]


@dataclass(frozen=True)
class Layer:
    """A layer, or a tap, for one image.

    Attributes:
      name: path of the module, such as `layer1/0/conv1`; empty for the network itself.
      shape: shape of its output, without the batch.
      parameters: number of parameters of its own.
      macs: number of products of its convolutions and matrix products, with padding.
      activations: number of elements of the post-ReLU map, 0 if it is no tap.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0
    activations: int = 0


def layers(model: nn.Module, image: tuple[int, int, int]) -> list[Layer]:
    """The layers that hold parameters or multiply, and the taps, in order of execution.

    Nothing is computed: shapes and products are read off the trace.

    Args:
      model: a Linen network, called as `model(x)`.
      image: height, width and channels.

    Raises:
      ValueError: products are in a loop or a branch.

    >>> net = nn.Sequential([nn.Dense(4), Tap(), nn.Dense(2)])
    >>> [(row.name, row.macs) for row in layers(net, (1, 1, 3))]
    [('layers_0', 12), ('layers_1', 0), ('layers_2', 8)]
    """
    x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    shapes: dict[str, tuple[int, ...]] = {}
    maps: dict[str, int] = {}

    def record(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        name = "/".join(context.module.path)
        shapes.setdefault(name, ())  # now, for the order
        out = call(*args, **kwargs)
        if isinstance(out, jax.Array):
            shapes[name] = out.shape[1:]
            if isinstance(context.module, Tap):
                maps[name] = out.size
        return out

    products: dict[str, int] = {}

    def counted(variables: Any, x: Any) -> None:
        operations, _ = cost.apart(cost.count(model.apply)(variables, x))
        for key, operation in operations.items():
            products[key] = _known(key, operation.dense)

    with nn.intercept_methods(record):
        jax.eval_shape(counted, variables, x)
    macs = _by_module(products, shapes, scope=model.name or type(model).__name__)
    parameters: dict[str, int] = defaultdict(int)
    for name, leaf in trees.named_leaves(variables.get("params", {})).items():
        parameters[name.rpartition("/")[0]] += leaf.size
    rows = [
        Layer(name, shape, parameters[name], macs.get(name, 0), maps.get(name, 0))
        for name, shape in shapes.items()
    ]
    return [row for row in rows if row.parameters or row.macs or row.activations]


def grouped(rows: Sequence[Layer], depth: int) -> list[Layer]:
    """The rows summed over all that share the first `depth` parts of their names.

    A group's shape is that of its last row.

    >>> rows = [Layer("a/conv", (8, 4), 9, 90), Layer("a/relu", (8, 4), 0, 0, 32)]
    >>> grouped(rows, 1)
    [Layer(name='a', shape=(8, 4), parameters=9, macs=90, activations=32)]
    """
    groups: dict[str, list[Layer]] = defaultdict(list)
    for row in rows:
        groups["/".join(row.name.split("/")[:depth])].append(row)
    return [
        Layer(
            name,
            group[-1].shape,
            sum(row.parameters for row in group),
            sum(row.macs for row in group),
            sum(row.activations for row in group),
        )
        for name, group in groups.items()
    ]


def _known(key: str, products: Any) -> int:
    if is_traced(products.limbs):
        raise ValueError(
            f"{key} multiplies in a loop or a branch, whose products are known only "
            "when it runs: count them with cost.count"
        )
    return int(products)


def _by_module(
    products: Mapping[str, int], modules: Collection[str], *, scope: str
) -> dict[str, int]:
    """Products by module, from products by the keys of `cost.count`.

    What follows the module in a key is the name of the primitive.

    >>> _by_module({"Net/fc/dot_general_1": 3, "Net": 4}, ["", "fc"], scope="Net")
    {'fc': 3, '': 4}
    """
    macs: dict[str, int] = defaultdict(int)
    for key, number in products.items():
        outermost, _, inner = key.partition("/")
        path = inner if outermost == scope else key
        while path not in modules:
            path = path.rpartition("/")[0]
        macs[path] += number
    return dict(macs)
