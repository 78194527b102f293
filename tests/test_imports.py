"""Importing a wing imports what it needs, and nothing else."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = [p.parent for p in ROOT.glob("dst_jax/*/__init__.py")]
PARTS += [p.with_suffix("") for p in ROOT.glob("dst_jax/[!_]*.py")]
ARRAYS = {"jax", "jaxtyping", "numpy"}
NEEDED = {  # at most, of other packages
    "runs": set(),
    **dict.fromkeys(("typing", "checks", "trees", "jaxprs", "kernels"), ARRAYS),
    **dict.fromkeys(("penalties", "cost"), ARRAYS),
    "allocation": {"jaxtyping", "numpy"},
    "pruning": ARRAYS | {"optax"},
    "parametrisations": ARRAYS | {"optax"},
    "channels": ARRAYS | {"scipy"},
    "activations": ARRAYS | {"flax", "optax"},
    "models": ARRAYS | {"flax", "optax"},
    "data": ARRAYS | {"PIL", "absl", "array_record", "grain"},
    "report": {"PIL", "jaxtyping", "matplotlib", "numpy", "rich"},
}
NEEDED["train"] = set().union(*NEEDED.values()) - {"matplotlib"} | {"orbax"}


def _at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run with the module: not those in functions or for types alone."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _at_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from _at_import(getattr(node, field, []))


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in found if file.is_file()), None)


@cache
def _imported(module: str) -> frozenset[str]:
    """What a module of the package names in its imports, in full."""
    file = _file(module)
    assert file is not None, module
    names = {module.rpartition(".")[0]} - {""}
    for node in _at_import(ast.parse(file.read_text()).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        assert node.module is not None
        names.add(node.module)
        parts = {f"{node.module}.{alias.name}" for alias in node.names}
        names |= {part for part in parts if _file(part) is not None}
    return frozenset(names)


def _brought(module: str) -> set[str]:
    """Packages of others that a module and all that it imports name."""
    todo, done, found = [module], set(), set()
    while todo:
        names = _imported(todo.pop())
        own = {name for name in names if name.split(".")[0] == "dst_jax"}
        found |= {name.split(".")[0] for name in names - own}
        todo += own - done
        done |= own
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("wing", sorted(path.name for path in PARTS))
def test_a_wing_brings_what_it_needs(wing):
    assert _brought(f"dst_jax.{wing}") <= NEEDED[wing]


def test_imports_for_types_and_in_functions_are_left_out():
    body = ast.parse(
        "import a\nif TYPE_CHECKING:\n  import b\nelse:\n  import c\n"
        "def f():\n  import d\nclass C:\n  import e\n"
        "try:\n  import g\nexcept ImportError:\n  import h\nwith x:\n  import i"
    ).body
    names = [node.names[0].name for node in _at_import(body)]
    assert names == ["a", "c", "e", "g", "h", "i"]


@pytest.mark.slow
def test_no_package_brings_what_a_wing_does_not_need():
    light = ["penalties", "pruning", "channels", "parametrisations", "cost"]
    program = f"""if True:
        import importlib, sys
        def new(*names):
            for name in names:
                importlib.import_module("dst_jax." + name)
            return sorted(heavy & sys.modules.keys())
        heavy = set("flax grain matplotlib orbax PIL rich sklearn tensorflow"
                    " tensorflow_datasets torch".split())
        print(new({", ".join(map(repr, [*light, "kernels", "allocation"]))}))
        print(new("train"))"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, last = done.stdout.splitlines()
    assert first == "[]"
    assert last == "['PIL', 'flax', 'grain', 'orbax', 'rich']"
