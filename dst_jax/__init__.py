"""Dual sparse training in JAX: sparse weights, sparse activation maps, exact counts.

`import dst_jax` imports nothing else; a part is imported when it is first named:

>>> import dst_jax
>>> dst_jax.penalties.l1.__module__
'dst_jax.penalties.l1'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dst_jax import (
        activations,
        allocation,
        channels,
        checks,
        cost,
        data,
        jaxprs,
        kernels,
        models,
        parametrisations,
        penalties,
        pruning,
        report,
        runs,
        train,
        trees,
        typing,
    )

    __version__: str

__all__ = [
    "__version__",
    "activations",
    "allocation",
    "channels",
    "checks",
    "cost",
    "data",
    "jaxprs",
    "kernels",
    "models",
    "parametrisations",
    "penalties",
    "pruning",
    "report",
    "runs",
    "train",
    "trees",
    "typing",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from dst_jax.runs.versions import installed_version

        return installed_version("dst_jax")
    if name in __all__:
        return importlib.import_module(f"dst_jax.{name}")
    raise AttributeError(f"module 'dst_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
