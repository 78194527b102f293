"""What a network is made of: layers, shapes, parameters, products, maps."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core

from dst_jax import trees
from dst_jax.activations.tap import Tap

__all__ = ["Layer", "grouped", "layers"]


@dataclass(frozen=True)
class Layer:
    """A layer, or a tap, for one image.

    Attributes:
      name: its path, such as `layer1/0/conv1`; empty for the network itself.
      shape: of its output, without the batch.
      parameters: how many of its own.
      macs: products of its convolutions and matrix products, those with padding too.
      activations: elements of the post-ReLU map, 0 if it is no tap.
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

    with nn.intercept_methods(record):
        program = jax.make_jaxpr(model.apply)(variables, x)
    macs = _macs(program.jaxpr, shapes.keys())
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


def _macs(jaxpr: core.Jaxpr, modules: Collection[str]) -> dict[str, int]:
    """Products by module."""
    found: dict[str, int] = defaultdict(int)
    for scopes, products in _operations(jaxpr, ()):
        found[_module(scopes, modules)] += products
    return found


def _module(scopes: Sequence[str], modules: Collection[str]) -> str:
    """The module that an operation belongs to, by the names of the scopes around it.

    Scopes that name no module below the last are methods, formulas of einsum, and
    functions that JAX has transformed.

    >>> _module(["Net", "Net._head", "fc", "ij,jk->ik"], {"", "fc"})
    'fc'
    """
    path = ""
    for scope in scopes:
        below = f"{path}/{scope}" if path else scope
        path = below if below in modules else path
    return path


def _operations(
    jaxpr: core.Jaxpr, outer: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Scopes and products of every convolution and matrix product.

    The networks have no loops, whose body would have to be counted more than once.
    """
    for eqn in jaxpr.eqns:
        stack = str(eqn.source_info.name_stack)
        path = outer + tuple(stack.split("/") if stack else ())
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            lhs, rhs, out = (_shape(v) for v in (*eqn.invars, *eqn.outvars))
            yield path, math.prod(out) * _reads(eqn, lhs, rhs)
        for inner in core.jaxprs_in_params(eqn.params):
            yield from _operations(inner, path)


def _reads(eqn: Any, lhs: Sequence[int], rhs: Sequence[int]) -> int:
    """The products of one output element, with those of padding."""
    numbers = eqn.params["dimension_numbers"]
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = numbers
        return math.prod(lhs[axis] for axis in contracted)
    output_channels = numbers.rhs_spec[0]
    return math.prod(rhs) // rhs[output_channels]


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape
