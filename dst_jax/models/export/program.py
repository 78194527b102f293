"""A network as a StableHLO program, which runs without its Python code."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jax.typing import DTypeLike

__all__ = ["stablehlo"]

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo(
    apply_fn: Callable[[Any, Any], Any],
    variables: Any,
    input_shape: Sequence[int],
    *,
    platforms: Sequence[str] = PLATFORMS,
    dtype: DTypeLike = jnp.float32,
) -> export.Exported:
    """A program that contains the weights and takes a batch of any size.

    Args:
      apply_fn: function `(variables, x) -> outputs`, such as `model.apply`.
      variables: variables of the network.
      input_shape: shape of one example, (height, width, channels).
      platforms: platforms of the program; one file serves them all.
      dtype: dtype of the input.

    Returns:
      An exported program. `exported.call(x)` runs it; `exported.serialize()` returns
      its bytes (this needs the package `flatbuffers`), `jax.export.deserialize(bytes)`
      reads them; `exported.mlir_module()` is the StableHLO text. JAX guarantees to read
      the bytes for at least six months.

    Raises:
      ValueError: an unknown platform, or a shape that is not positive.

    >>> program = stablehlo(lambda w, x: x @ w, jnp.ones((3, 2)), (3,))
    >>> program.call(jnp.ones((4, 3))).shape, program.out_avals
    ((4, 2), (ShapedArray(float32[batch,2]),))
    """
    unknown = sorted(set(platforms) - set(PLATFORMS) - {"rocm"})
    if unknown or not platforms:
        raise ValueError(f"platforms must be among {PLATFORMS}, got {platforms}")
    if any(size < 1 for size in input_shape):
        raise ValueError(f"input_shape must be at least 1, got {tuple(input_shape)}")
    (batch,) = export.symbolic_shape("batch")
    example = jax.ShapeDtypeStruct((batch, *input_shape), dtype)
    program = jax.jit(lambda x: apply_fn(variables, x))
    return export.export(program, platforms=tuple(platforms))(example)
