"""A network as a StableHLO program, which runs without its Python code."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
from jax import export
from jax.typing import DTypeLike
from jaxtyping import Array

from dst_jax.models.linen import as_model
from dst_jax.models.smaller import Smaller
from dst_jax.typing import Network

__all__ = ["batch_of", "evaluation", "stablehlo"]

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
    run, input_shape = evaluation("stablehlo", network, arguments)
    unknown = sorted(set(platforms) - set(PLATFORMS) - {"rocm"})
    if unknown or not platforms:
        raise ValueError(f"platforms must be among {PLATFORMS}, got {platforms}")
    example = batch_of(input_shape, dtype)
    return export.export(jax.jit(run), platforms=tuple(platforms))(example)


def batch_of(input_shape: Sequence[int], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a batch of any size.

    Args:
      input_shape: shape of one example.
      dtype: its dtype.

    Raises:
      ValueError: a size is not positive.

    >>> batch_of((28, 28, 1), jnp.float32).shape
    (batch, 28, 28, 1)
    """
    if any(size < 1 for size in input_shape):
        raise ValueError(f"input_shape must be at least 1, got {tuple(input_shape)}")
    (batch,) = export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, *input_shape), dtype)


def evaluation(
    name: str,
    network: Network | Callable[[Any, Any], Any],
    arguments: Sequence[Any],
) -> tuple[Callable[[Array], Any], Sequence[int]]:
    """The function of a batch of any size, and the shape of an example.

    Args:
      name: name of the export, for messages.
      network: the network, which is evaluated, or a function.
      arguments: for a function, its variables; then the shape of one example.

    Raises:
      TypeError: an argument is missing or left over.

    >>> run, shape = evaluation("stablehlo", lambda w, x: w * x, [2.0, (3,)])
    >>> run(jnp.ones(3)).tolist(), shape
    ([2.0, 2.0, 2.0], (3,))
    """
    names = ["input_shape"]
    if not isinstance(network, Network):
        names = ["variables", *names]
    if len(arguments) != len(names):
        raise TypeError(f"{name} needs {names} here, got {len(arguments)} arguments")
    *_, input_shape = arguments
    if not isinstance(network, Network):
        return lambda x: network(arguments[0], x), input_shape
    model = as_model(network.model)

    def run(x: Array) -> Any:
        return model(network.variables, x, train=False)[0]

    if not isinstance(model, Smaller):
        return run, input_shape
    # Kept positions are followed through a batch of a known size, here of one example.
    one = jax.vmap(lambda x: jax.tree.map(lambda y: y[0], run(x[None])))
    return one, input_shape
