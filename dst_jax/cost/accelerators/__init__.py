"""Models of accelerators: what they save through the zeros of an operation.

accelerator = accelerators.create("scnn", kappa=1.2)
accelerator.cycles(profile)             one operation, on the multipliers alone
cost.estimate(profiles, accelerator)    a network, with memory and energy
"""

from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.registry import (
    NumberSource,
    create,
    labels,
    names,
    sources,
)
from dst_jax.cost.accelerators.work import Bits, Measured, Work

__all__ = [
    "Accelerator",
    "Bits",
    "Measured",
    "NumberSource",
    "Work",
    "create",
    "labels",
    "names",
    "sources",
]
