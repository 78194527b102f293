"""Methods by name."""

import inspect
from typing import Any

import optax

from dst_jax import checks
from dst_jax.pruning.description import Description, Factory, description_of
from dst_jax.pruning.methods.ac_dc import ac_dc
from dst_jax.pruning.methods.auto_sparse import auto_sparse
from dst_jax.pruning.methods.chase import chase
from dst_jax.pruning.methods.constrained_l0 import constrained_l0
from dst_jax.pruning.methods.east import east
from dst_jax.pruning.methods.gap import gap
from dst_jax.pruning.methods.gradual import (
    gradual_magnitude,
    gradual_movement,
    one_shot,
)
from dst_jax.pruning.methods.granet import granet
from dst_jax.pruning.methods.halo import halo
from dst_jax.pruning.methods.mest import mest
from dst_jax.pruning.methods.rigl import rigl, rigl_itop
from dst_jax.pruning.methods.set import set_
from dst_jax.pruning.methods.sr_ste import sr_ste
from dst_jax.pruning.methods.srigl import srigl
from dst_jax.pruning.methods.static import random, static
from dst_jax.pruning.methods.ste import ste
from dst_jax.pruning.methods.threshold import threshold

__all__ = ["create", "describe", "holds", "names", "options"]

_METHODS: dict[str, Factory] = {
    "static": static,
    "random": random,
    "one_shot": one_shot,
    "gradual_magnitude": gradual_magnitude,
    "gradual_movement": gradual_movement,
    "set": set_,
    "rigl": rigl,
    "rigl_itop": rigl_itop,
    "mest": mest,
    "granet": granet,
    "gap": gap,
    "east": east,
    "srigl": srigl,
    "chase": chase,
    "ste": ste,
    "sr_ste": sr_ste,
    "threshold": threshold,
    "ac_dc": ac_dc,
    "auto_sparse": auto_sparse,
    "constrained_l0": constrained_l0,
    "halo": halo,
}


def names() -> tuple[str, ...]:
    """The names that `create` knows.

    >>> "rigl" in names()
    True
    """
    return tuple(_METHODS)


def describe(name: str) -> Description:
    """What a method declares: its options, lengths in steps, structures, gradients.

    Args:
      name: one of `names()`, or `module:attribute` of a factory made by `method`.

    Raises:
      ValueError: an unknown name.

    >>> rigl = describe("rigl")
    >>> rigl.lengths, rigl.ends, rigl.structures
    ({'end': 0.75, 'interval': 0.02}, ('start', 'end'), 'units')
    >>> rigl.dense_gradient_every(100, sparsity=0.9, end=750, interval=10)
    10
    """
    return description_of(_find(name))


def options(name: str) -> dict[str, inspect.Parameter]:
    """The options of a method, with their defaults.

    Args:
      name: one of `names()`, or `module:attribute`.

    Raises:
      ValueError: an unknown name.

    >>> options("rigl")["interval"].default
    100
    """
    return dict(describe(name).options)


def create(
    name: str, inner: optax.GradientTransformation, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """A method around an optimizer, by name.

    Args:
      name: one of `names()`, or `module:attribute` of a factory made by `method`.
      inner: any Optax optimizer.
      **options: options of the method (see `options(name)`) and of `sparsify`.

    Raises:
      ValueError: an unknown name or option, a missing one, or a value out of range.

    >>> tx = create("set", optax.sgd(0.1), sparsity=0.9, interval=100)
    """
    known = describe(name).options
    checks.known_options(name, options, known)
    needed = [k for k, p in known.items() if p.default is p.empty]
    missing = [k for k in needed if k not in options]
    if missing:
        raise ValueError(f"{name} needs {missing}; it takes {list(known)}")
    return _find(name)(inner, **options)


def holds(name: str, **options: Any) -> bool:
    """Whether a method holds pruned weights at 0 in the parameters themselves.

    If not, the parameters stay dense and the network computes with `sparse_params`.

    Args:
      name: one of `names()`, or `module:attribute`.
      **options: options as for `create`.

    Raises:
      ValueError: an unknown name, or a value out of range.

    >>> holds("random", sparsity=0.9), holds("ste", sparsity=0.9)
    (True, False)
    """
    return describe(name).holds(**options)


def _find(name: str) -> Any:
    return checks.lookup("method", name, _METHODS)
