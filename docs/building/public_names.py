"""The public names of the package, by page of the reference; needs no Sphinx.

A name is public if `__all__` of a wing lists it, of a module that such a list names, or
of a module below that the documentation leads users to.
"""

import ast
import functools
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["PAGES", "Name", "assignment", "every", "modules", "names", "owners"]

PAGES = {
    "typing": "Types",
    "penalties": "Penalties",
    "activations": "Activation maps",
    "pruning": "Weight sparsity",
    "channels": "Channels",
    "kernels": "Kernels",
    "parametrisations": "Parametrisations",
    "allocation": "Budgets",
    "cost": "Counts and accelerators",
    "models": "Networks",
    "data": "Data",
    "train": "Training",
    "report": "Reports",
    "runs": "Run directories",
    "trees": "Trees",
    "checks": "Checks of arguments",
    "options": "Options of the commands",
}
"""Titles of the pages, by wing of the package."""

_FURTHER = {
    "channels": ["dst_jax.channels.linen"],
    "cost": ["dst_jax.cost.accelerators.base", "dst_jax.cost.accelerators.work"],
    "models": [
        "dst_jax.models.linen",
        "dst_jax.models.smaller",
        "dst_jax.models.torch.importer",
        "dst_jax.models.torch.packages",
        "dst_jax.models.export",
    ],
    "data": ["dst_jax.data.records", "dst_jax.data.recipe"],
    "pruning": ["dst_jax.pruning.hard_concrete"],
    "train": ["dst_jax.train.per_layer"],
}


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
      module: the module that exports it.
      name: its name there.
      value: what it is.
    """

    module: str
    name: str
    value: object

    @property
    def path(self) -> str:
        """The name with its module."""
        return f"{self.module}.{self.name}"

    @property
    def kind(self) -> str:
        """`class`, `function` or `data`."""
        if inspect.isclass(self.value):
            return "class"
        return "function" if inspect.isroutine(self.value) else "data"

    @property
    def doc(self) -> str:
        """Its docstring; of data, the string below the assignment."""
        if self.kind == "data":
            return assignment(self.module, self.name)[1]
        return inspect.getdoc(self.value) or ""


def modules(page: str) -> list[str]:
    """The modules on a page: the wing, those its lists name, and further ones."""
    if page == "options":
        return ["experiments.options"]
    found = _below(f"dst_jax.{page}")
    return found + [name for name in _FURTHER.get(page, []) if name not in found]


def names(module: str) -> list[Name]:
    """The public names of a module that are no modules, in the order of `__all__`."""
    found = importlib.import_module(module)
    listed = getattr(found, "__all__", ())
    values = [Name(module, name, getattr(found, name)) for name in listed]
    return [name for name in values if not inspect.ismodule(name.value)]


def every() -> list[Name]:
    """All public names; one that several modules export is listed once for each."""
    return [name for page in PAGES for m in modules(page) for name in names(m)]


def owners() -> dict[str, Name]:
    """By path of a public name, the name under which its value has its entry.

    That is the first one, in the order of the pages. Constants may be equal by chance:
    each has an entry.
    """
    first: dict[int, Name] = {}
    return {
        name.path: name
        if name.kind == "data"
        else first.setdefault(id(name.value), name)
        for name in every()
    }


def assignment(module: str, name: str) -> tuple[str, str]:
    """The value that a module assigns to a name, as written, and the string below it.

    Names that it imports from another module are looked up there.
    """
    body = _body(module)
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom) and node.module:
            if any((alias.asname or alias.name) == name for alias in node.names):
                return assignment(node.module, name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            values = _assigned(node)
            if name in values:
                return values[name], _string(after)
    return "", ""


def _assigned(node: ast.Assign | ast.AnnAssign) -> dict[str, str]:
    """By name, the value that is assigned, also of `a, b = 1, 2`."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    targets, values = [target], [node.value]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        targets, values = target.elts, node.value.elts
    return {
        name.id: ast.unparse(value) if value else ""
        for name, value in zip(targets, values, strict=True)
        if isinstance(name, ast.Name)
    }


@functools.cache
def _body(module: str) -> list[ast.stmt]:
    file = inspect.getsourcefile(importlib.import_module(module))
    return ast.parse(Path(file or "").read_text()).body


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(str(node.value.value))
    return ""


def _below(name: str) -> list[str]:
    module = importlib.import_module(name)
    found = [name]
    for listed in getattr(module, "__all__", ()):
        value = getattr(module, listed)
        if isinstance(value, ModuleType) and value.__name__.startswith(name):
            found += _below(value.__name__)
    return found
