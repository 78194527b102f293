"""What simulators of hardware read: masks of real operands, and loop nests.

traces = workloads.stack([cost.profile(fn)(w, x[i : i + 1]) for i in range(8)])
workloads.save("net.npz", traces)       packed masks of every layer, for any program
workloads.load("net.npz")               the same masks again
workloads.timeloop(traces)              a problem for Timeloop and Sparseloop by layer
workloads.accelforge(traces)            one workload for AccelForge
"""

from dst_jax.cost.workloads.accelforge import accelforge
from dst_jax.cost.workloads.loop_nest import LoopNest, loop_nest, unsuitable
from dst_jax.cost.workloads.mask_files import load, save
from dst_jax.cost.workloads.operand_masks import (
    MaskTraces,
    OperandMasks,
    PackedMask,
    stack,
)
from dst_jax.cost.workloads.timeloop import timeloop

__all__ = [
    "LoopNest",
    "MaskTraces",
    "OperandMasks",
    "PackedMask",
    "accelforge",
    "load",
    "loop_nest",
    "save",
    "stack",
    "timeloop",
    "unsuitable",
]
