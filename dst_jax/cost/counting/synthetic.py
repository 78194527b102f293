"""Operations with random zeros, for densities that papers publish."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from dst_jax import checks
from dst_jax.cost.counting.op_profile import Geometry, OpProfile

__all__ = ["output_shape", "synthetic"]


def synthetic(
    geometry: Geometry,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    density_activation: float | Array,
    density_weight: float | Array,
    key: Key[Array, ""],
    *,
    density_output: float | Array = 1.0,
) -> OpProfile:
    """An operation whose elements are nonzero independently of each other.

    Real zeros cluster, in dead channels and at the same positions of all channels. So
    an accelerator loses more to imbalance than these operations show.

    Args:
      geometry: movement of the window; `Geometry()` for a matrix product.
      shapes: shapes of the activation (batch, *spatial, channel) and of the weight
        (*tap, channel / groups, filter).
      density_activation, density_weight, density_output: densities in [0, 1].
      key: PRNG key of the draw.

    Raises:
      ValueError: a density out of range, or shapes that do not fit together.

    >>> op = synthetic(Geometry(), ((4, 8), (8, 3)), 0.5, 1.0, jax.random.key(0))
    >>> op.output.shape, bool(op.weight.all())
    ((4, 3), True)
    """
    densities = (density_activation, density_weight, density_output)
    names = ("density_activation", "density_weight", "density_output")
    for name, density in zip(names, densities, strict=True):
        checks.share(name, density)
    all_shapes = (*shapes, output_shape(geometry, *shapes))
    activation, weight, output = (
        jax.random.bernoulli(k, jnp.float32(density), shape)
        for k, density, shape in zip(
            jax.random.split(key, 3), densities, all_shapes, strict=True
        )
    )
    return OpProfile(activation, weight, output, geometry)


def output_shape(
    geometry: Geometry, activation: tuple[int, ...], weight: tuple[int, ...]
) -> tuple[int, ...]:
    """The shape of an operation's output, (batch, *out, filter).

    Raises:
      ValueError: the shapes do not fit together, or the window is too large.

    >>> same = Geometry((2,), ((1, 1),), (1,), (1,))
    >>> output_shape(same, (1, 8, 3), (3, 3, 16))
    (1, 4, 16)
    """
    axes = len(geometry.strides)
    if len(activation) != axes + 2 or len(weight) != axes + 2:
        raise ValueError(
            f"shapes must have {axes + 2} axes for a geometry of {axes} spatial axes, "
            f"got {activation} and {weight}"
        )
    if weight[-2] * geometry.groups != activation[-1]:
        raise ValueError(
            f"shapes must agree in channels: {activation[-1]} in {geometry.groups} "
            f"groups do not meet {weight[-2]}"
        )
    if weight[-1] % geometry.groups:
        raise ValueError(
            f"shapes must have filters in {geometry.groups} groups, got {weight[-1]}"
        )
    out = tuple(
        _positions(activation[1 + i], weight[i], geometry, i) for i in range(axes)
    )
    if min(out, default=1) < 1:
        raise ValueError(f"shapes leave no room for the window: output {out}")
    return (activation[0], *out, weight[-1])


def _positions(size: int, taps: int, geometry: Geometry, axis: int) -> int:
    low, high = geometry.padding[axis]
    room = (size - 1) * geometry.lhs_dilation[axis] + 1 + low + high
    window = (taps - 1) * geometry.rhs_dilation[axis] + 1
    return (room - window) // geometry.strides[axis] + 1
