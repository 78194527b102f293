"""An accelerator.

An accelerator is a frozen dataclass and a pytree, with a default for every number. It
says what it reads of the operands' masks (`reduce`), how much work is left
(`sparse_work`) and how operands are stored (`storage`).

COMMAND
  python -m experiments.mnist_lenet5 --preset demo \\
    --run.accelerators my_accelerator:ZeroSkipper
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax.cost.accelerators import Accelerator
from dst_jax.cost.accelerators.base import dense_bits
from dst_jax.cost.accelerators.work import Work


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroSkipper(Accelerator):
    """Multiplies what is not zero, and loses nothing on the way."""

    clock: Any = 1e9
    lanes: Any = 64

    @property
    def multipliers(self):
        """As many as there are lanes."""
        return self.lanes

    def reduce(self, profile):
        """Nothing: the counts are enough."""
        return ()

    def sparse_work(self, measured):
        """The effectual products, spread over the lanes."""
        products = measured.macs.effectual
        cycles = jnp.ceil(products / self.lanes)
        return Work(cycles, products, jnp.float32(0), 1, 1)

    def storage(self, profile):
        """Dense."""
        return dense_bits(profile, self.value_bits)
