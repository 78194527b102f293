"""An accelerator that computes every product: the reference for all others."""

import dataclasses
from dataclasses import field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.arithmetic import ceil_div, exact_sum
from dst_jax.cost.accelerators.base import Accelerator, dense_bits
from dst_jax.cost.accelerators.work import Bits, Measured, OpShape, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, read

__all__ = ["Dense", "array_cycles"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Dense(Accelerator):
    """An output-stationary array of multipliers that skips no product.

        cycles = images * groups * ceil(K / columns) * ceil(P / rows) * taps * C

    with K filters and C channels of one group and P output positions of one image; a
    matrix product has one image, whose rows are the positions. `ideal` keeps every
    multiplier busy: ceil(products / (rows * columns)).

    Attributes:
      rows: number of output positions computed at once.
      columns: number of filters computed at once.
      reduction: number of products that are added before an accumulator is read and
        written. It changes energy alone.
      ideal: Whether tiles that do not fill the array cost nothing. Static.
    """

    rows: Number = field(
        default=32,
        metadata=read("1024 multipliers, as in the Sparseloop artifact, fig. 15"),
    )
    columns: Number = field(
        default=32, metadata=read("1024 multipliers, as in the Sparseloop artifact")
    )
    reduction: Number = field(
        default=16,
        metadata=read("mapping of the Sparseloop artifact, fig. 15: 16 along channels"),
    )
    ideal: bool = field(
        default=False, metadata=assumed("tiles are not ideal", static=True)
    )
    clock: Number = field(default=1e9, metadata=assumed("a round number"))

    stores_weights = False

    @property
    def multipliers(self) -> Number:
        """Rows times columns.

        >>> Dense().multipliers
        1024
        """
        return self.rows * self.columns

    def storage(self, profile: OpProfile) -> Bits:
        """Dense.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> Dense().storage(profile).weight.item()  # 16 elements, 12 of them zeros
        256.0
        """
        return dense_bits(profile, self.value_bits)

    def reduce(self, profile: OpProfile) -> tuple[()]:
        """Nothing: the masks do not matter.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> Dense().reduce(profile)
        ()
        """
        return ()

    def sparse_work(self, measured: Measured) -> Work:
        """All products; each operand is read once per tile of the other one.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> array = Dense(rows=2, columns=2)
        >>> work = array.sparse_work(array.measure(profile))
        >>> work.cycles.item(), work.executed.item()  # 1 x 2 tiles of 4 channels
        (8.0, 32.0)
        """
        shape = measured.shape
        if self.ideal:
            cycles = self.dense_work(measured).cycles
        else:
            cycles = self._array_cycles(shape)
        return Work(
            cycles=cycles,
            executed=measured.macs.dense,
            gated=jnp.float32(0),
            activation_reads=ceil_div(shape.filters, self.columns),
            weight_reads=shape.images * ceil_div(shape.positions, self.rows),
            psum_accesses=0,
            accumulator_accesses=2 * measured.macs.dense / self.reduction,
        )

    def _array_cycles(self, shape: OpShape) -> Float[Array, "..."]:
        return array_cycles(shape, self.rows, self.columns)


def array_cycles(shape: OpShape, rows: Number, columns: Number) -> Float[Array, "..."]:
    """Cycles of an output-stationary array; see `Dense`.

    >>> shape = OpShape(4, images=1, taps=1, channels=8, filters=3, groups=1, axes=0)
    >>> array_cycles(shape, rows=2, columns=2).item()  # 2 x 2 tiles of 8 products each
    32.0
    """
    tiles = ceil_div(shape.filters, columns) * ceil_div(shape.positions, rows)
    steps = shape.images * shape.groups * shape.contracted
    return exact_sum(
        jnp.atleast_1d(jnp.asarray(tiles, jnp.int32)),
        jnp.array([steps], jnp.int32),
        most=shape.filters * shape.positions,
        most_y=steps,
    )
