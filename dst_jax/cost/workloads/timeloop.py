"""Problems for Timeloop and Sparseloop, one a layer.

Reference: Parashar et al., "Timeloop", ISPASS 2019; Wu et al., "Sparseloop", MICRO
2022. The format is that of version 0.4, which Timeloop and its Python front end read.
"""

from typing import Any

from dst_jax.cost.workloads.loop_nest import LoopNest, loop_nest, unsuitable
from dst_jax.cost.workloads.operand_masks import MaskTraces

__all__ = ["timeloop"]


def timeloop(traces: MaskTraces) -> dict[str, dict[str, Any]]:
    """A problem with measured densities for every layer that has a loop nest.

    The zeros are spread as by chance (`hypergeometric`): Timeloop takes shares of
    nonzeros, not masks. The problem is one image's; write it with `runs.to_yaml`.

    Args:
      traces: masks of every layer. A layer for which `unsuitable` says why is left out.

    Returns:
      Plain dictionaries by layer, each `{"problem": {"version", "shape", "instance"}}`.

    >>> import numpy as np
    >>> from dst_jax.cost.counting.op_profile import Geometry, OpProfile
    >>> from dst_jax.cost.workloads.operand_masks import stack
    >>> x, w = np.array([[True, False]]), np.ones((2, 3), bool)
    >>> traces = stack([{"fc": OpProfile(x, w, x @ w, Geometry())}])
    >>> instance = timeloop(traces)["fc"]["problem"]["instance"]
    >>> instance["C"], instance["densities"]["Inputs"]
    (2, {'distribution': 'hypergeometric', 'density': 0.5})
    """
    return {
        name: {"problem": _problem(name, loop_nest(layer))}
        for name, layer in traces.layers.items()
        if unsuitable(layer) is None
    }


def _problem(name: str, nest: LoopNest) -> dict[str, Any]:
    coefficients: dict[str, int] = {}
    for axis in reversed(nest.spatial):
        coefficients[f"{axis.name}stride"] = axis.stride
        coefficients[f"{axis.name}dilation"] = axis.dilation
    densities = {
        tensor: {"distribution": "hypergeometric", "density": density}
        for tensor, density in nest.densities.items()
    }
    return {
        "version": 0.4,
        "shape": {
            "name": name,
            "dimensions": list(nest.bounds),
            "coefficients": [{"name": c, "default": 1} for c in coefficients],
            "data_spaces": [_data_space(tensor, nest) for tensor in nest.tensors],
        },
        "instance": {**nest.bounds, **coefficients, "densities": densities},
    }


def _data_space(tensor: str, nest: LoopNest) -> dict[str, Any]:
    """A tensor; each axis is a sum of products of a dimension and a coefficient."""
    projection: list[list[list[str]]] = [[[d]] for d in nest.tensors[tensor]]
    if tensor == "Inputs":
        projection += [
            [[axis.window, f"{axis.name}dilation"], [axis.output, f"{axis.name}stride"]]
            for axis in nest.spatial
        ]
    space = {"name": tensor, "projection": projection}
    return space | ({"read_write": True} if tensor == "Outputs" else {})
