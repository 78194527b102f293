"""Accelerators by name, and the sources of their numbers."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dst_jax import checks
from dst_jax.cost.accelerators.accelerator_files import file_of, read_accelerator
from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.cambricon_x import CambriconX
from dst_jax.cost.accelerators.cnvlutin import Cnvlutin
from dst_jax.cost.accelerators.dense import Dense
from dst_jax.cost.accelerators.dstc import Dstc
from dst_jax.cost.accelerators.eie import Eie
from dst_jax.cost.accelerators.eyeriss_v1 import EyerissV1
from dst_jax.cost.accelerators.eyeriss_v2 import EyerissV2
from dst_jax.cost.accelerators.highlight import HighLight
from dst_jax.cost.accelerators.loihi import Loihi
from dst_jax.cost.accelerators.scnn import Scnn
from dst_jax.cost.accelerators.sparse_gpu import Blackwell24, Hopper24
from dst_jax.cost.accelerators.sparten import Sparten
from dst_jax.cost.accelerators.tensor_core import TensorCore24
from dst_jax.cost.accelerators.tpu import TpuV1
from dst_jax.cost.estimates import energy as energies
from dst_jax.cost.provenance import NumberSource
from dst_jax.typing import is_traced

__all__ = ["NumberSource", "create", "labels", "names", "sources"]

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
    "hopper_2_4": Hopper24,
    "blackwell_2_4": Blackwell24,
    "tpu_v1": TpuV1,
    "highlight": HighLight,
    "loihi": Loihi,
}


def names() -> tuple[str, ...]:
    """The presets that `create` knows.

    >>> "scnn" in names()
    True
    """
    return tuple(_PRESETS)


class Design(NamedTuple):
    """What a name stands for: a class, and the numbers that are not its defaults.

    Attributes:
      preset: class of the accelerator.
      numbers: numbers by field.
      sources: their sources by field, as far as they are given.
      where: what errors say before the name of a field.
    """

    preset: Any
    numbers: Mapping[str, Any]
    sources: Mapping[str, str]
    where: str


def create(name: str, **overrides: Any) -> Accelerator:
    """An accelerator by name.

    Args:
      name: name from `names()`; `module:attribute` of a subclass of `Accelerator`, or
        of an instance; or the path of a YAML file (docs/hardware_files.md), whose name
        ends in .yaml or .yml.
      **overrides: numbers that replace the preset's, see `sources(name)`; an array of
        them is for `jax.vmap` or `cost.sweep`. `energy` also takes a table's name, or
        a mapping of the fields of one.

    Raises:
      ValueError: an unknown name or field, a number out of range, or a file that cannot
        be read as an accelerator.
      TypeError: no number where one belongs, a float where something is counted.

    >>> create("scnn", kappa=1.2).multipliers
    1024
    """
    design = _design(name)
    numbers = _checked(design.preset, design.numbers, design.where)
    return design.preset(**numbers | _checked(design.preset, overrides, name))


def labels(names: Iterable[str]) -> dict[str, str]:
    """Names of accelerators by the words for them in tables: a file's without folder.

    Args:
      names: names that `create` takes.

    Raises:
      ValueError: two of them would be called the same.

    >>> labels(["dense", "chips/ours.yaml"])
    {'dense': 'dense', 'ours': 'chips/ours.yaml'}
    """
    found: dict[str, str] = {}
    for name in names:
        label = name if (path := file_of(name)) is None else path.stem
        if found.setdefault(label, name) != name:
            raise ValueError(
                f"{found[label]!r} and {name!r} would both be called {label!r}: give"
                " one of the files another name"
            )
    return found


def sources(name: str) -> dict[str, NumberSource]:
    """Every number of an accelerator with its source.

    Args:
      name: name that `create` takes.

    >>> sources("eie")["queue"].status
    'memory'
    """
    design, accelerator = _design(name), create(name)
    rows = {}
    for field in dataclasses.fields(accelerator):
        value = getattr(accelerator, field.name)
        value = value.name if field.name == "energy" else value
        source = field.metadata.get("source", "")
        status = field.metadata.get("status", "assumed")
        if field.name in design.numbers:
            source, status = f"given by {name}", "assumed"
        if field.name in design.sources:
            source, status = design.sources[field.name], "read"
        rows[field.name] = NumberSource(value, source, status)
    return rows


def _design(name: str) -> Design:
    path = file_of(name)
    if path is not None:
        said = read_accelerator(path)
        where = f"{path}: preset"
        preset = _class(where, checks.lookup(where, said.preset, _PRESETS))
        return Design(preset, said.numbers, said.sources, f"{path}: numbers")
    found = checks.lookup("accelerator", name, _PRESETS)
    if isinstance(found, Accelerator):
        numbers = {
            field.name: getattr(found, field.name)
            for field in dataclasses.fields(found)
        }
        return Design(type(found), numbers, {}, name)
    return Design(_class(f"accelerator {name!r}", found), {}, {}, name)


def _class(name: str, found: Any) -> type[Accelerator]:
    if not (isinstance(found, type) and issubclass(found, Accelerator)):
        raise ValueError(f"{name} must be an Accelerator, got {found!r}")
    return found


def _checked(
    preset: type[Accelerator], numbers: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The numbers, once each is found to be one that the accelerator may have."""
    fields = {field.name: field for field in dataclasses.fields(preset)}
    unknown = sorted(set(numbers) - set(fields), key=str)
    if unknown:
        near = checks.suggestion(str(unknown[0]), fields)
        raise ValueError(f"{where} has no {unknown}; it has {list(fields)}{near}")
    found = dict(numbers)
    for key, value in numbers.items():
        if key == "energy":
            found[key] = energies.of(value, argument=f"{where}.energy")
        else:
            _check(f"{where}.{key}", value, default=fields[key].default)
    return found


def _check(name: str, value: Any, *, default: Any) -> None:
    """Refuses numbers that are not positive, and floats where the default is a count.

    It is not in `__post_init__` because JAX rebuilds pytrees with placeholders.
    """
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
        return
    counted = isinstance(default, int)
    kind = "a whole number" if counted else "a number"
    if value is None or isinstance(value, bool | str | Mapping):
        raise TypeError(f"{name} must be {kind} above 0, got {value!r}")
    number = jnp.asarray(value)
    if counted and not jnp.issubdtype(number.dtype, jnp.integer):
        raise TypeError(f"{name} is counted and must be an integer, got {value!r}")
    if not is_traced(value) and not (np.asarray(value) > 0).all():
        raise ValueError(f"{name} must be positive, got {value!r}")
