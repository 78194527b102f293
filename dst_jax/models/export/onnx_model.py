"""A network as an ONNX model, which runs without JAX."""

import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, overload, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.typing import DTypeLike
from jaxtyping import Array

from dst_jax.jaxprs.binding import bind, typed
from dst_jax.jaxprs.calls import Called, called, opened
from dst_jax.models.export.program import batch_of, evaluation
from dst_jax.typing import Network

__all__ = ["OnnxModel", "onnx"]

TOLERANCE = 1e-4
"""Largest difference from the network, of its largest output: larger than what float32
rounds, smaller than what a wrong operation does."""
WINDOW = {
    "window_dimensions": 1,
    "window_strides": 1,
    "padding": (0, 0),
    "base_dilation": 1,
    "window_dilation": 1,
}
"""What the parameters of a pooling are along an axis that is not pooled."""


@runtime_checkable
class OnnxModel(Protocol):
    """An `onnx.ModelProto`, as far as it is used here."""

    def SerializeToString(self) -> bytes:
        """The bytes of a file."""
        ...


@overload
def onnx(
    network: Network, input_shape: Sequence[int], /, *, dtype: DTypeLike = ...
) -> OnnxModel:
    """The model of a network in evaluation mode."""
    ...


@overload
def onnx(
    apply_fn: Callable[[Any, Any], Any],
    variables: Any,
    input_shape: Sequence[int],
    /,
    *,
    dtype: DTypeLike = ...,
) -> OnnxModel:
    """The model of a function with its variables."""
    ...


def onnx(
    network: Network | Callable[[Any, Any], Any],
    *arguments: Any,
    dtype: DTypeLike = jnp.float32,
) -> OnnxModel:
    """An ONNX model that contains the weights and takes a batch of any size.

    jax2onnx converts the trace of the network. onnxruntime then runs the model on two
    random examples, and its outputs must be those of the network.

    Args:
      network: the network, which is evaluated; or a function
        `(variables, x) -> outputs`, such as `model.apply`.
      *arguments: for a function, its variables; then the shape of one example,
        (height, width, channels).
      dtype: dtype of the input.

    Returns:
      A model whose input `x` has the axes of the network's, channels last.
      `model.SerializeToString()` returns the bytes of a file.

    Raises:
      ModuleNotFoundError: jax2onnx is not installed.
      NotImplementedError: jax2onnx cannot convert an operation.
      TypeError: an argument is missing or left over.
      ValueError: a shape that is not positive; or the model differs from the network,
        or onnxruntime refuses it.

    >>> onnx(lambda w, x: x @ w, (3,))
    Traceback (most recent call last):
    TypeError: onnx needs ['variables', 'input_shape'] here, got 1 arguments
    """
    run, input_shape = evaluation("onnx", network, arguments)
    batch = batch_of(input_shape, dtype)
    try:
        converter = importlib.import_module("jax2onnx")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "jax2onnx is not installed: pip install 'dst_jax[onnx]', then pip install"
            " --no-deps jax2onnx",
            name="jax2onnx",
        ) from error
    # Traced before the converter replaces functions of Flax and JAX by its own.
    program = opened(jax.make_jaxpr(lambda x: jax.tree.leaves(run(x)))(batch))
    with _quiet("onnx_ir.serde"):
        model = converter.to_onnx(
            lambda x: tuple(_results(program, [x])),
            inputs=[batch],
            input_names=["x"],
            model_name="network",
        )
    _check(model, run, (2, *input_shape), dtype)
    return model


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without a logger's warnings, of which jax2onnx causes one for every shape."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _results(program: Called, args: Sequence[Array]) -> list[Array]:
    """The results of a program, without calls and in operations of few axes."""
    known: dict[Any, Any] = dict(zip(program.jaxpr.invars, args, strict=True))
    known |= dict(zip(program.jaxpr.constvars, program.consts, strict=True))

    def read(atom: Any) -> Any:
        return typed(atom) if isinstance(atom, core.Literal) else known[atom]

    for eqn in program.jaxpr.eqns:
        operands = [read(atom) for atom in eqn.invars]
        inner = called(eqn)
        if inner is not None:
            results = _results(inner, operands)
        elif eqn.primitive.name == "reduce_window_max":
            results = [_max_pool(eqn, *operands)]
        else:
            results = bind(eqn, operands)
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in program.jaxpr.outvars]


def _max_pool(eqn: core.JaxprEqn, x: Array) -> Array:
    """The maxima of windows, with all axes that are not pooled made one.

    jax2onnx writes a MaxPool over all axes, and runtimes pool along three at most.
    """
    along = [
        dict(zip(WINDOW, axis, strict=True))
        for axis in zip(*(eqn.params[name] for name in WINDOW), strict=True)
    ]
    pooled = [i for i, axis in enumerate(along) if axis != WINDOW]
    others = [i for i in range(x.ndim) if i not in pooled]
    order = (*others, *pooled)
    moved = jnp.transpose(x, order)
    merged = moved.reshape(-1, *moved.shape[len(others) :])
    windows = {
        name: (still, *(along[i][name] for i in pooled))
        for name, still in WINDOW.items()
    }
    (maxima,) = bind(eqn, [merged], **windows)
    apart = maxima.reshape(*moved.shape[: len(others)], *maxima.shape[1:])
    return jnp.transpose(apart, [order.index(i) for i in range(x.ndim)])


def _check(
    model: OnnxModel,
    run: Callable[[Array], Any],
    shape: Sequence[int],
    dtype: DTypeLike,
) -> None:
    """Compares the model with the network on random examples."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it would print is in the error
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(None, {"x": x})
    except Exception as error:  # its errors have no other base
        raise ValueError(f"onnxruntime refuses the converted model: {error}") from error
    for ours, theirs in zip(jax.tree.leaves(jax.jit(run)(x)), found, strict=True):
        ours = np.asarray(ours, np.float64)
        gap = np.abs(ours - np.asarray(theirs)).max()
        largest = np.abs(ours).max()
        if not gap <= TOLERANCE * largest:
            raise ValueError(
                f"the converted model differs from the network by {gap:.3g}, where the"
                f" largest output is {largest:.3g}: jax2onnx has converted an operation"
                " wrongly"
            )
