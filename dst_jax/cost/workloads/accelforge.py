"""A workload for AccelForge: all layers as Einsums of one file.

Reference: https://github.com/Accelergy-Project/accelforge, version 1.0. Its workloads
have no densities; they are variables here, which any expression of an architecture can
read.
"""

import re
from typing import Any

from dst_jax.cost.workloads.loop_nest import LoopNest, loop_nest, unsuitable
from dst_jax.cost.workloads.operand_masks import MaskTraces

__all__ = ["accelforge"]


def accelforge(traces: MaskTraces, *, value_bits: int = 16) -> dict[str, Any]:
    """The layers as Einsums, and their measured densities as variables.

    Each Einsum has tensors of its own: between two layers of a network there are
    normalisations, activation functions and sums, which are not in the file. The
    tensors are renamed `input`, `weight` and `output`, as in AccelForge's examples.

    Args:
      traces: masks of every layer. A layer for which `unsuitable` says why is left out.
      value_bits: number of bits of a stored value, at least 1.

    Returns:
      Plain dictionaries: `workload`, and `variables` with `density_TENSOR` for every
      tensor. The name of a layer is its path with `_` for what is no letter or digit;
      write it with `runs.to_yaml`.

    Raises:
      ValueError: `value_bits` is below 1.

    >>> import numpy as np
    >>> from dst_jax.cost.counting.op_profile import Geometry, OpProfile
    >>> from dst_jax.cost.workloads.operand_masks import stack
    >>> x, w = np.array([[True, False]]), np.ones((2, 3), bool)
    >>> traces = stack([{"head/fc": OpProfile(x, w, x @ w, Geometry())}])
    >>> found = accelforge(traces)
    >>> found["variables"]["density_Inputs_head_fc"]
    0.5
    >>> found["workload"]["einsums"][0]["iteration_space_shape"]
    ['0 <= c0 < 2', '0 <= m0 < 3', '0 <= n0 < 1']
    """
    if value_bits < 1:
        raise ValueError(f"value_bits must be at least 1, got {value_bits}")
    variables: dict[str, float] = {}
    einsums: list[dict[str, Any]] = []
    taken: set[str] = set()
    for path, layer in traces.layers.items():
        if unsuitable(layer) is not None:
            continue
        nest, name = loop_nest(layer), _identifier(path, taken)
        taken.add(name)
        einsums.append(_einsum(name, nest, suffix=str(len(einsums))))
        for tensor, density in nest.densities.items():
            variables[f"density_{tensor}_{name}"] = density
    workload = {"bits_per_value": {"All": value_bits}, "einsums": einsums}
    return {"variables": variables, "workload": workload}


def _identifier(path: str, taken: set[str]) -> str:
    """A name that AccelForge accepts and no other layer has."""
    name = re.sub(r"\W", "_", path, flags=re.ASCII)
    name = name if name[:1].isalpha() else f"layer_{name}"
    found, i = name, 1
    while found in taken or found == "Total":  # a name that AccelForge keeps to itself
        found, i = f"{name}_{i}", i + 1
    return found


def _einsum(name: str, nest: LoopNest, *, suffix: str) -> dict[str, Any]:
    """One layer; `suffix` keeps its loops apart from those of other layers."""

    def loop(dimension: str) -> str:
        return f"{dimension.lower()}{suffix}"

    def projection(tensor: str) -> dict[str, str]:
        found = {f"{d}{suffix}": loop(d) for d in nest.tensors[tensor]}
        if tensor == "Inputs":
            for axis in nest.spatial:
                terms = (
                    _scaled(axis.stride, loop(axis.output)),
                    _scaled(axis.dilation, loop(axis.window)),
                )
                found[f"{axis.name}{suffix}"] = " + ".join(terms)
        return found

    accesses: list[dict[str, Any]] = [
        {"name": f"{tensor}_{name}", "projection": projection(tensor)}
        for tensor in nest.tensors
    ]
    accesses[-1]["output"] = True
    roles = {"input": "Inputs", "weight": "Weights", "output": "Outputs"}
    return {
        "name": name,
        "tensor_accesses": accesses,
        "iteration_space_shape": [
            f"0 <= {loop(d)} < {bound}" for d, bound in nest.bounds.items()
        ],
        "renames": {role: f"{tensor}_{name}" for role, tensor in roles.items()},
    }


def _scaled(factor: int, variable: str) -> str:
    return variable if factor == 1 else f"{factor}*{variable}"
