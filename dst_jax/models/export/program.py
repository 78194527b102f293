"""A network as a StableHLO program, which runs without its Python code."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
from jax import export
from jax.typing import DTypeLike

from dst_jax.models.linen import as_model
from dst_jax.typing import Network

__all__ = ["stablehlo"]

PLATFORMS = ("cpu", "cuda", "tpu")


@overload
def stablehlo(
    network: Network,
    input_shape: Sequence[int],
    /,
    *,
    platforms: Sequence[str] = ...,
    dtype: DTypeLike = ...,
) -> export.Exported:
    """The program of a network in evaluation mode."""
    ...


@overload
def stablehlo(
    apply_fn: Callable[[Any, Any], Any],
    variables: Any,
    input_shape: Sequence[int],
    /,
    *,
    platforms: Sequence[str] = ...,
    dtype: DTypeLike = ...,
) -> export.Exported:
    """The program of a function with its variables."""
    ...


def stablehlo(
    network: Network | Callable[[Any, Any], Any],
    *arguments: Any,
    platforms: Sequence[str] = PLATFORMS,
    dtype: DTypeLike = jnp.float32,
) -> export.Exported:
    """A program that contains the weights and takes a batch of any size.

    Args:
      network: the network, which is evaluated; or a function
        `(variables, x) -> outputs`, such as `model.apply`.
      *arguments: for a function, its variables; then the shape of one example,
        (height, width, channels).
      platforms: platforms of the program; one file serves them all.
      dtype: dtype of the input.

    Returns:
      An exported program. `exported.call(x)` runs it; `exported.serialize()` returns
      its bytes (this needs the package `flatbuffers`), `jax.export.deserialize(bytes)`
      reads them; `exported.mlir_module()` is the StableHLO text. JAX guarantees to read
      the bytes for at least six months.

    Raises:
      TypeError: an argument is missing or left over.
      ValueError: an unknown platform, or a shape that is not positive.

    >>> program = stablehlo(lambda w, x: x @ w, jnp.ones((3, 2)), (3,))
    >>> program.call(jnp.ones((4, 3))).shape, program.out_avals
    ((4, 2), (ShapedArray(float32[batch,2]),))
    >>> def model(variables, x, *, train=False, rngs=None):
    ...     return x @ variables["params"]["w"], {}, {}
    >>> network = Network(model, {"params": {"w": jnp.ones((3, 2))}})
    >>> stablehlo(network, (3,)).call(jnp.ones((4, 3))).shape
    (4, 2)
    """
    run, input_shape = _function(network, arguments)
    unknown = sorted(set(platforms) - set(PLATFORMS) - {"rocm"})
    if unknown or not platforms:
        raise ValueError(f"platforms must be among {PLATFORMS}, got {platforms}")
    if any(size < 1 for size in input_shape):
        raise ValueError(f"input_shape must be at least 1, got {tuple(input_shape)}")
    (batch,) = export.symbolic_shape("batch")
    example = jax.ShapeDtypeStruct((batch, *input_shape), dtype)
    return export.export(jax.jit(run), platforms=tuple(platforms))(example)


def _function(
    network: Network | Callable[[Any, Any], Any], arguments: Sequence[Any]
) -> tuple[Callable[[Any], Any], Sequence[int]]:
    """The function of a batch, and the shape of an example."""
    names = ["input_shape"]
    if not isinstance(network, Network):
        names = ["variables", *names]
    if len(arguments) != len(names):
        raise TypeError(f"stablehlo needs {names} here, got {len(arguments)} arguments")
    *_, input_shape = arguments
    if not isinstance(network, Network):
        return lambda x: network(arguments[0], x), input_shape
    model = as_model(network.model)
    return lambda x: model(network.variables, x, train=False)[0], input_shape
