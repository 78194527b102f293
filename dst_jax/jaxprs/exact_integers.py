"""Exact integers past 2^31 on a device without 64-bit types: base-4096 limbs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

__all__ = ["Count", "sum_products"]

BITS = 12
LIMBS = 6
MASK = (1 << BITS) - 1

# Each product of two limbs adds less than 2^12 to a position; a position receives at
# most 6 of them, so 2^16 elements stay below 2^31 and leave room for the carry.
CHUNK = 1 << 16


@jax.tree_util.register_pytree_node_class
class Count:
    """Nonnegative integers below 2^72: `sum_i limbs[..., i] * 2^(12 i)`.

    A pytree with one leaf, so that it comes out of `jax.jit` and `jax.device_get`.
    `int(count)` is the Python integer, `a + b` stays on the device. `jax.vmap` makes
    arrays of them, which `tolist` turns into Python integers.

    Args:
      limbs: uint32, every limb below 2^12, the lowest first; mostly one integer.

    >>> Count.of(2**40) + 1
    Count(1099511627777)
    """

    limbs: Any

    def __init__(self, limbs: UInt32[Array | np.ndarray, "*batch 6"]):
        self.limbs = limbs

    @classmethod
    def of(cls, value: int) -> "Count":
        """The count of a Python integer.

        Raises:
          ValueError: `value` is not in [0, 2^72).

        >>> int(Count.of(7))
        7
        """
        if not 0 <= value < 1 << BITS * LIMBS:
            raise ValueError(f"value must be in [0, 2^{BITS * LIMBS}), got {value}")
        limbs = [value >> BITS * i & MASK for i in range(LIMBS)]
        return cls(np.array(limbs, np.uint32))

    @property
    def shape(self) -> tuple[int, ...]:
        """() for one integer, (batch,) after one `jax.vmap`.

        >>> Count.of(7).shape
        ()
        """
        return self.limbs.shape[:-1]

    def tolist(self) -> Any:
        """Python integers in nested lists, as `numpy.ndarray.tolist`.

        >>> jax.vmap(lambda n: Count.of(2**40) + Count.of(1))(jnp.arange(2)).tolist()
        [1099511627777, 1099511627777]
        """
        limbs = np.asarray(self.limbs).astype(object)
        total = sum(limbs[..., i] << BITS * i for i in range(LIMBS))
        return np.asarray(total, object).tolist()

    def __int__(self) -> int:
        if self.shape:
            raise TypeError(
                f"a Count of shape {self.shape} is not one integer: use tolist()"
            )
        return sum(int(limb) << BITS * i for i, limb in enumerate(self.limbs))

    __index__ = __int__

    def __add__(self, other: "Count | int") -> "Count":
        if isinstance(other, int):
            other = Count.of(other)
        if not isinstance(other, Count):
            return NotImplemented
        a, b = jnp.broadcast_arrays(self.limbs, other.limbs)
        return Count(a + b).carried()

    __radd__ = __add__

    def __repr__(self) -> str:
        try:
            return f"Count({self.tolist()})"
        except (
            TypeError,
            AttributeError,
        ):  # traced, or a placeholder of a transformation
            return f"Count({self.limbs})"

    def as_float(self) -> Float[Array, "*batch"]:
        """In float32, for arithmetic on the device: exact to 2^24, then rounded.

        >>> float(Count.of(2**40).as_float()) == 2**40
        True
        """
        limbs = jnp.asarray(self.limbs).astype(jnp.float32)
        # From the highest limb: a product by 4096 is exact, only the sum is rounded.
        total = limbs[..., -1]
        for i in reversed(range(LIMBS - 1)):
            total = total * (1 << BITS) + limbs[..., i]
        return total

    def carried(self) -> "Count":
        """The same integers, from limbs that are only below 2^31.

        >>> Count(jnp.array([5000, 0, 0, 0, 0, 0], jnp.uint32)).carried()
        Count(5000)
        """
        limbs = jnp.asarray(self.limbs)
        return Count(_carry([limbs[..., i] for i in range(LIMBS)]))

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """The limbs, and nothing static.

        >>> leaves = jax.tree.leaves(Count.of(2**12 + 5))
        >>> [limbs.tolist() for limbs in leaves]
        [[5, 1, 0, 0, 0, 0]]
        """
        return (self.limbs,), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Sequence[Any]) -> "Count":
        """Rebuilt without a check: JAX also unflattens placeholders.

        >>> doubled = jax.tree.map(lambda limbs: 2 * limbs, Count.of(2**40))
        >>> int(doubled) == 2**41
        True
        """
        count = object.__new__(cls)
        (count.limbs,) = children
        return count


def sum_products(
    a: UInt32[Array, "*batch n"],
    b: UInt32[Array, "*batch n"],
    *,
    max_a: int,
    max_b: int,
) -> UInt32[Array, "*batch 6"]:
    """The exact `sum_n a[..., n] * b[..., n]`, as the limbs of a `Count`.

    Exact if the sum is below 2^72.

    Args:
      a, b: uint32, n at most 2^34.
      max_a, max_b: upper bounds of the elements, below 2^32. Small bounds save limbs.

    >>> x = jnp.array([4_000_000_000, 5], jnp.uint32)
    >>> Count(sum_products(x, x, max_a=2**32 - 1, max_b=2**32 - 1))
    Count(16000000000000000025)
    """
    a, b = _chunks(a), _chunks(b)
    positions = [jnp.zeros(a.shape[:-1], jnp.uint32)] * LIMBS
    for i, low in enumerate(_limbs(a, max_a)):
        for j, high in enumerate(_limbs(b, max_b)):
            product = low * high
            positions[i + j] += (product & MASK).sum(-1, dtype=jnp.uint32)
            positions[i + j + 1] += (product >> BITS).sum(-1, dtype=jnp.uint32)
    limbs = _carry(positions)
    if limbs.shape[-2] == 1:
        return limbs.squeeze(-2)
    limbs = limbs.sum(-2, dtype=jnp.uint32)
    return _carry([limbs[..., i] for i in range(LIMBS)])


def _chunks(x: UInt32[Array, "*batch n"]) -> UInt32[Array, "*batch chunks chunk"]:
    *batch, n = x.shape
    if n <= CHUNK:
        return x[..., None, :]
    x = jnp.pad(x, [(0, 0)] * len(batch) + [(0, -n % CHUNK)])
    return x.reshape(*batch, -1, CHUNK)


def _limbs(x: UInt32[Array, "..."], largest: int) -> list[UInt32[Array, "..."]]:
    n = max(1, -(-largest.bit_length() // BITS))
    return [x >> BITS * i & MASK for i in range(n)]


def _carry(positions: Sequence[UInt32[Array, "*n"]]) -> UInt32[Array, "*n 6"]:
    """Limbs of `sum_i positions[i] * 2^(12 i)`; every position is below 2^31."""
    limbs, carry = [], jnp.zeros_like(positions[0])
    for position in positions:
        position = position + carry
        limbs.append(position & MASK)
        carry = position >> BITS
    return jnp.stack(limbs, -1)
