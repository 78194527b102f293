"""Imports run one way only, and Flax stays where it belongs."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dst_jax"
FLOORS = {name: i for i, name in enumerate(["typing", "checks", "trees", "runs"])}
FLOORS |= {"jaxprs": 10, "kernels": 11}
FLOORS |= dict.fromkeys(
    [
        "penalties",
        "activations",
        "pruning",
        "channels",
        "parametrisations",
        "cost",
        "allocation",
        "data",
    ],
    20,
)
FLOORS |= {"models": 30, "report": 30, "train": 40}
REPORT_SEES = {"runs", "cost", "trees", "checks", "typing"}
NO_FLAX = {"penalties", "pruning", "channels", "parametrisations", "cost", "allocation"}
OUTSIDE = {"jax", "jaxtyping", "numpy", "optax", "scipy"}
FLAX = ("models/", "activations/", "train/", "channels/linen.py")
# The package's own file imports its parts on demand, see test_init.py.
FILES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            assert "dst_jax" not in found, f"{path}: import the parts it needs"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _wing(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def _own(imports: set[str]) -> set[str]:
    names = {i.split(".")[1] for i in imports if i.startswith("dst_jax.")}
    return names & FLOORS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    wing = _wing(path)
    for other in _own(_imports(path)) - {wing}:
        assert FLOORS[other] < FLOORS[wing], f"{path} imports {other}"
    if wing == "report":
        assert _own(_imports(path)) <= {"report"} | REPORT_SEES


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_flax_and_experiments_stay_out(path):
    relative = str(path.relative_to(PACKAGE))
    roots = {name.split(".")[0] for name in _imports(path)}
    assert "experiments" not in roots
    if "flax" in roots:
        assert relative.startswith(FLAX), f"{relative} imports flax"
    if "tensorflow" in roots:
        assert relative == "data/prepare.py"
    if _wing(path) in NO_FLAX:
        third = roots - {"dst_jax"} - set(__import__("sys").stdlib_module_names)
        third -= {"flax"} if relative == "channels/linen.py" else set()
        assert third <= OUTSIDE, f"{relative} imports {third - OUTSIDE}"


def test_every_wing_has_a_floor():
    assert {_wing(path) for path in FILES} <= set(FLOORS)
