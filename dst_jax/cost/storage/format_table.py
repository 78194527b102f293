"""Every operand and output of a network in every storage format."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping

from jaxtyping import Array, Bool

from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.storage import formats
from dst_jax.jaxprs.exact_integers import Count

__all__ = ["FORMATS", "Storage", "smallest", "storage", "table"]

# The widths of published designs; only N:M has an `axis`.
FORMATS: Mapping[str, Callable[..., Count]] = OrderedDict(
    dense=formats.dense,
    bitmask=formats.bitmask,
    two_level_bitmask=functools.partial(formats.two_level_bitmask, tile=32),
    zvc=formats.zvc,
    csr=formats.csr,
    coo=formats.coo,
    run_length_4=functools.partial(formats.run_length, run_bits=4),
    run_length_5=functools.partial(formats.run_length, run_bits=5),
    n_m_2_4=functools.partial(formats.n_m, n=2, m=4),
)

Storage = OrderedDict[str, Count]
"""The nonzeros of one array, and its bits by format."""


def table(mask: Bool[Array, "..."], *, value_bits: int, axis: int = -1) -> Storage:
    """The nonzeros of one array, and its bits in each of `FORMATS`.

    Args:
      mask: mask of nonzero elements.
      value_bits: bits of a value.
      axis: axis along which N:M groups are formed.

    Returns:
      `nonzeros`, then bits by format; each a `Count`.

    >>> import jax.numpy as jnp
    >>> bits = table(jnp.arange(64).reshape(8, 8) < 8, value_bits=16)
    >>> {name: int(bits[name]) for name in ("nonzeros", "bitmask", "run_length_5")}
    {'nonzeros': 8, 'bitmask': 192, 'run_length_5': 168}
    """
    rows: Storage = OrderedDict(nonzeros=formats.nonzeros(mask))
    for name, bits in FORMATS.items():
        options = {"axis": axis} if name == "n_m_2_4" else {}
        rows[name] = bits(mask, value_bits=value_bits, **options)
    return rows


def smallest(bits: Mapping[str, Count | int]) -> str:
    """The format of fewest bits; the first in order where several are equal.

    Args:
      bits: bits by format, from `table`; `nonzeros` may be among them.

    >>> smallest({"nonzeros": 2, "dense": 64, "csr": 30, "coo": 30})
    'csr'
    """
    return min((name for name in bits if name in FORMATS), key=lambda k: int(bits[k]))


def storage(
    profiles: Mapping[str, OpProfile], *, value_bits: int = 16
) -> OrderedDict[str, OrderedDict[str, Storage]]:
    """The nonzeros and bits of every operand and output, in every format.

    N:M groups run along the channels; those of the operands are the summed ones.

    Args:
      profiles: profiles by operation, from `cost.profile`.
      value_bits: bits of a value, the same for all arrays.

    Returns:
      `storage(...)["conv1"]["weight"]["csr"]` is a `Count`; the arrays are
      `activation`, `weight` and `output`.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> mask = jnp.eye(4, dtype=bool)
    >>> profiles = {"fc": OpProfile(mask, mask, mask, Geometry())}
    >>> list(jax.eval_shape(storage, profiles)["fc"]["weight"])[:4]
    ['nonzeros', 'dense', 'bitmask', 'two_level_bitmask']
    """
    return OrderedDict(
        (
            name,
            OrderedDict(
                activation=table(profile.activation, value_bits=value_bits),
                weight=table(profile.weight, value_bits=value_bits, axis=-2),
                output=table(profile.output, value_bits=value_bits),
            ),
        )
        for name, profile in profiles.items()
    )
