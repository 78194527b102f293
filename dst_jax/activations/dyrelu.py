"""DyReLU: a rectifier whose slopes depend on the input, until it is phased out."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax import checks
from dst_jax.typing import Mask, Scalar, Schedule

__all__ = ["PHASES", "DyReLU", "phase_out", "with_phase", "without_dyrelu"]

PHASES = "phases"
"""The collection of the phases: `{path: {"phase": phase}}`."""
_WEIGHTS = "dyrelu"
"""The subtree of the weights, which is a name in `kernels.auxiliary`."""

_torch_default = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class DyReLU(nn.Module):
    """DyReLU-B: the larger of two lines, whose coefficients the whole map decides.

        z = mean of x over all axes between the batch and the channels
        u = 2 sigmoid(W2 relu(W1 z + b1) + b2) - 1        4 numbers for each channel
        a = (1, 0) + u[0:2],   b = u[2:4] / 2
        y = max(a_1 x + b_1, a_2 x + b_2)

    A phase `beta` leads back to ReLU: `beta u` takes the place of `u`, so that at 0
    `y = max(x, 0)` exactly. It is the variable `phase` of the collection `phases` at
    the module's path, 1 at first; `{"phases": phase_out(...)}` among the schedules of a
    stage moves all of them.

    The weights are never pruned and never count as weights: they are under a name in
    `kernels.auxiliary`. `without_dyrelu` removes them.

    Attributes:
      reduction: channels over hidden units of the two layers, at least 1.
      dtype: compute dtype of the two layers.

    Reference:
      Chen et al. 2020 (DyReLU-B, arXiv 2003.10027) with K = 2; phases as in EAST, Li et
      al. 2024, from the authors' code.

    >>> x = jnp.array([[-1.0, 2.0]])
    >>> y, variables = DyReLU().init_with_output(jax.random.key(0), x)
    >>> float(variables["phases"]["phase"]), bool((y == nn.relu(x)).all())
    (1.0, False)
    >>> DyReLU().apply(with_phase(variables, 0), x).tolist()
    [[0.0, 2.0]]
    """

    reduction: int = 4
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array | np.ndarray) -> Float[Array, "batch *map channels"]:
        """The rectified map, from the pre-activation.

        Raises:
          ValueError: `reduction` is below 1, or `x` has no channels.
        """
        checks.at_least("reduction", self.reduction, 1)
        if x.ndim < 2:
            raise ValueError(f"x must have a batch and channels, got {x.shape}")
        phase = self.variable(PHASES, "phase", lambda: jnp.float32(1)).value
        between = tuple(range(1, x.ndim - 1))
        u = _Coefficients(self.reduction, self.dtype, name=_WEIGHTS)(x.mean(between))
        u = u.astype(x.dtype).reshape(len(x), *[1] * len(between), x.shape[-1], 4)
        u = u * phase.astype(x.dtype)
        first = (1 + u[..., 0]) * x + u[..., 2] / 2
        second = u[..., 1] * x + u[..., 3] / 2
        # Of the maximum, a gradient at x = 0 and the sign of a zero would differ.
        return jnp.where(phase == 0, nn.relu(x), jnp.maximum(first, second))


class _Coefficients(nn.Module):
    """`2 sigmoid(W2 relu(W1 z + b1) + b2) - 1`, four numbers for each channel."""

    reduction: int
    dtype: DTypeLike | None

    @nn.compact
    def __call__(self, z: Array | np.ndarray) -> Float[Array, "batch four"]:
        channels = z.shape[-1]
        hidden = max(channels // self.reduction, 1)
        h = nn.relu(self._layer(hidden, channels, "reduce")(z))
        return 2 * nn.sigmoid(self._layer(4 * channels, hidden, "expand")(h)) - 1

    def _layer(self, features: int, fan_in: int, name: str) -> nn.Dense:
        def bias(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
            bound = fan_in**-0.5
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        return nn.Dense(
            features,
            dtype=self.dtype,
            kernel_init=_torch_default,
            bias_init=bias,
            name=name,
        )


def phase_out(*, start: Scalar, end: Scalar) -> Schedule:
    """A schedule of DyReLU's phase: 1 up to `start`, then linear to 0 at `end`.

    Args:
      start: last step of phase 1; may be traced.
      end: first step of phase 0, at least `start`.

    Returns:
      `step -> phase`, a float32 scalar, exactly 0 from `end` on.

    Raises:
      ValueError: `start` is below 0, or `end` below `start`.

    Reference:
      EAST: Li et al. 2024, from the authors' code, where the ramp begins at a quarter
      of the training and ends one epoch before its half.

    >>> phase = phase_out(start=2, end=6)
    >>> [float(phase(step)) for step in (0, 2, 3, 4, 6, 9)]
    [1.0, 1.0, 0.75, 0.5, 0.0, 0.0]
    """
    checks.at_least("start", start, 0)
    checks.at_least("end", end, start)

    def schedule(count: Scalar) -> Float[Array, ""]:
        step, first, last = (jnp.asarray(x, jnp.float32) for x in (count, start, end))
        done = (step - first) / jnp.maximum(last - first, 1)
        return jnp.where(step >= last, 0.0, 1 - jnp.clip(done, 0, 1))

    return schedule


def with_phase(variables: Mapping[str, Any], phase: Scalar) -> dict[str, Any]:
    """The variables of a network with every DyReLU at one phase.

    Args:
      variables: variables of a network with DyReLUs; they are not changed.
      phase: number in [0, 1]; may be traced.

    Raises:
      ValueError: the phase is out of range, or there is no DyReLU.

    >>> variables = DyReLU().init(jax.random.key(0), jnp.ones((1, 4)))
    >>> float(with_phase(variables, 0.5)["phases"]["phase"])
    0.5
    """
    checks.share("phase", phase)
    if PHASES not in variables:
        raise ValueError(f"variables must hold {PHASES!r}, got {sorted(variables)}")
    at_phase = jax.tree.map(
        lambda old: jnp.broadcast_to(jnp.asarray(phase, old.dtype), jnp.shape(old)),
        variables[PHASES],
    )
    return {**variables, PHASES: at_phase}


def without_dyrelu(
    variables: Mapping[str, Any], mask: Mask = None
) -> tuple[dict[str, Any], Mask]:
    """The variables of the same network with plain ReLUs, and its mask.

    Args:
      variables: variables of a network with DyReLUs; they are not changed.
      mask: mask of its parameters, or None.

    Returns:
      The variables without the phases and the weights of DyReLUs, and the mask without
      those.

    >>> variables = DyReLU().init(jax.random.key(0), jnp.ones((1, 4)))
    >>> without_dyrelu(variables)
    ({'params': {}}, None)
    """
    plain = {name: value for name, value in variables.items() if name != PHASES}
    if "params" in plain:
        plain["params"] = _pruned(plain["params"])
    return plain, None if mask is None else _pruned(mask)


def _pruned(tree: Any) -> Any:
    """A tree of dicts without the weights of DyReLUs, and what is empty then."""
    if not isinstance(tree, Mapping):
        return tree
    found = {name: _pruned(part) for name, part in tree.items() if name != _WEIGHTS}
    return {
        name: part
        for name, part in found.items()
        if not (isinstance(part, dict) and not part and tree[name])
    }
