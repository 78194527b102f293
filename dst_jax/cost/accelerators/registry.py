"""Accelerators by name, and the sources of their numbers."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp

from dst_jax import checks
from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.cambricon_x import CambriconX
from dst_jax.cost.accelerators.cnvlutin import Cnvlutin
from dst_jax.cost.accelerators.dense import Dense
from dst_jax.cost.accelerators.dstc import Dstc
from dst_jax.cost.accelerators.eie import Eie
from dst_jax.cost.accelerators.eyeriss_v1 import EyerissV1
from dst_jax.cost.accelerators.eyeriss_v2 import EyerissV2
from dst_jax.cost.accelerators.provenance import Status
from dst_jax.cost.accelerators.scnn import Scnn
from dst_jax.cost.accelerators.sparten import Sparten
from dst_jax.cost.accelerators.tensor_core import TensorCore24
from dst_jax.cost.estimates import energy as energies
from dst_jax.typing import is_traced

__all__ = ["NumberSource", "create", "names", "sources"]

_PRESETS: dict[str, type[Accelerator]] = {
    "dense": Dense,
    "eyeriss_v1": EyerissV1,
    "eyeriss_v2": EyerissV2,
    "cnvlutin": Cnvlutin,
    "cambricon_x": CambriconX,
    "scnn": Scnn,
    "sparten": Sparten,
    "dstc": Dstc,
    "tensor_core_2_4": TensorCore24,
    "eie": Eie,
}


class NumberSource(NamedTuple):
    """The source of the default of one number.

    Attributes:
      value: default value.
      source: paper, table, repository; or the reason for the choice.
      status: "read" in the source; "memory", not verified; "assumed", our choice.
    """

    value: Any
    source: str
    status: Status


def names() -> tuple[str, ...]:
    """The presets that `create` knows.

    >>> "scnn" in names()
    True
    """
    return tuple(_PRESETS)


def create(name: str, **overrides: Any) -> Accelerator:
    """An accelerator by name.

    Args:
      name: name from `names()`, or `module:attribute` of a subclass of `Accelerator`.
      **overrides: numbers that replace the preset's, see `sources(name)`; an array of
        them is for `jax.vmap` or `cost.sweep`. `energy` also takes a table's name.

    Raises:
      ValueError: an unknown name or field, or a number out of range.
      TypeError: a float where something is counted.

    >>> create("scnn", kappa=1.2).multipliers
    1024
    """
    preset = _preset(name)
    fields = {field.name: field for field in dataclasses.fields(preset)}
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise ValueError(f"{name} has no {unknown}; it has {list(fields)}")
    if isinstance(overrides.get("energy"), str):
        overrides["energy"] = energies.create(overrides["energy"])
    for key, value in overrides.items():
        if key != "energy":
            _check(f"{name}.{key}", value, default=fields[key].default)
    return preset(**overrides)


def sources(name: str) -> dict[str, NumberSource]:
    """Every number of a preset with its source.

    >>> sources("eie")["queue"].status
    'memory'
    """
    preset = _preset(name)()
    rows = {
        field.name: NumberSource(
            getattr(preset, field.name),
            field.metadata.get("source", ""),
            field.metadata.get("status", "assumed"),
        )
        for field in dataclasses.fields(preset)
    }
    table = rows["energy"].value
    rows["energy"] = rows["energy"]._replace(value=table.name)
    return rows


def _preset(name: str) -> Any:
    found = checks.lookup("accelerator", name, _PRESETS)
    if not (isinstance(found, type) and issubclass(found, Accelerator)):
        raise ValueError(f"accelerator {name!r} must be an Accelerator, got {found!r}")
    return found


def _check(name: str, value: Any, *, default: Any) -> None:
    """Refuses numbers that are not positive, and floats where the default is a count.

    It is not in `__post_init__` because JAX rebuilds pytrees with placeholders.
    """
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
        return
    number = jnp.asarray(value)
    if isinstance(default, int) and not jnp.issubdtype(number.dtype, jnp.integer):
        raise TypeError(f"{name} is counted and must be an integer, got {value!r}")
    if not is_traced(value) and not bool((number > 0).all()):
        raise ValueError(f"{name} must be positive, got {value!r}")
