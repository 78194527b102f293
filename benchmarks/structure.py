"""Statistics of the source: sizes of files and functions, nesting, types, doctests.

COMMAND
  python -m benchmarks.structure                           one second
  python -m benchmarks.structure path/to/optax/optax       of any other package

`__init__.py` files are left out. A public function is one of a module or of a public
class without a leading underscore; its lines are counted without its docstring.
"""

import ast
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Function", "Source", "share", "sources"]

PACKAGES = ("dst_jax", "experiments")
Definition = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try)


@dataclass(frozen=True)
class Function:
    """A function of a module or a class."""

    node: Definition
    owner: str | None  # the class of a method

    @property
    def public(self) -> bool:
        """Whether neither its name nor its class's begins with an underscore."""
        return not self.node.name.startswith("_") and (self.owner or "x")[0] != "_"

    @property
    def docstring(self) -> str:
        """Its docstring as written, or nothing."""
        return ast.get_docstring(self.node, clean=False) or ""

    @property
    def has_doctest(self) -> bool:
        """Whether its docstring shows a call."""
        return ">>>" in self.docstring

    @property
    def lines(self) -> int:
        """Lines of its signature and body without its docstring."""
        first, last = self.node.lineno, self.node.end_lineno or self.node.lineno
        return last - first + 1 - len(self.docstring.splitlines())

    @property
    def typed(self) -> bool:
        """Whether every argument and what it returns are annotated."""
        arguments = self.node.args
        named = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
        named = named[1 if self.owner and arguments.args else 0 :]
        return bool(self.node.returns) and all(a.annotation for a in named)


@dataclass(frozen=True)
class Source:
    """A file of source."""

    path: Path

    @cached_property
    def text(self) -> str:
        """What the file holds."""
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return len(self.text.splitlines())

    @property
    def public(self) -> list[Definition | ast.ClassDef]:
        """Functions and classes of the module without a leading underscore."""
        named = [n for n in self.tree.body if isinstance(n, Definition | ast.ClassDef)]
        return [node for node in named if not node.name.startswith("_")]

    @cached_property
    def functions(self) -> list[Function]:
        """Functions of the module and methods of its classes."""
        found = []
        for node in self.tree.body:
            if isinstance(node, Definition):
                found.append(Function(node, None))
            elif isinstance(node, ast.ClassDef):
                methods = [n for n in node.body if isinstance(n, Definition)]
                found += [Function(method, node.name) for method in methods]
        return found

    @property
    def nesting(self) -> int:
        """How deep loops, conditions, `with` and `try` are nested at most."""
        return _nesting(self.tree)


def _nesting(node: ast.AST) -> int:
    below = max((_nesting(child) for child in ast.iter_child_nodes(node)), default=0)
    return below + isinstance(node, BLOCKS)  # `elif` counts as an `if` below `else`


def sources(folder: Path) -> list[Source]:
    """Returns the files of a package without `__init__.py` and tests next to code."""
    paths = sorted(folder.rglob("*.py"))
    left_out = "__init__.py", "_test.py"
    found = [Source(path) for path in paths if not path.name.endswith(left_out)]
    if not found:
        raise ValueError(f"folder must hold Python files, {folder} holds none")
    return found


def share(hits: Iterable[bool]) -> float:
    """Returns which part of the values is true; 1 where there are none."""
    hits = list(hits)
    return sum(hits) / len(hits) if hits else 1.0


def _rows(files: list[Source]) -> dict[str, str]:
    lengths = [file.lines for file in files]
    public = [f for file in files for f in file.functions if f.public]
    no_methods = [f for f in public if f.owner is None]
    middle, tenth = statistics.median(lengths), statistics.quantiles(lengths, n=10)[-1]
    return {
        "files": f"{len(files)}",
        "lines": f"{sum(lengths)}",
        "lines of a file: median/p90/max": f"{middle:.0f}/{tenth:.0f}/{max(lengths)}",
        "files under 60 lines": f"{share(n < 60 for n in lengths):.0%}",
        "deepest nesting": f"{max(file.nesting for file in files)}",
        "public functions": f"{len(public)}",
        "... over 40 lines": f"{share(f.lines > 40 for f in public):.1%}",
        "... typed": f"{share(f.typed for f in public):.0%}",
        "... with a doctest": f"{share(f.has_doctest for f in public):.0%}",
        "public functions but methods": f"{len(no_methods)}",
        "... with a doctest ": f"{share(f.has_doctest for f in no_methods):.0%}",
    }


def _total_lines(folder: str) -> int:
    return sum(Source(path).lines for path in Path(folder).rglob("*.py"))


def main(folders: list[str]) -> None:
    """Prints a column of statistics for every folder, and lines of tests per line."""
    found = {folder: sources(Path(folder)) for folder in folders or PACKAGES}
    columns = [_rows(files) for files in found.values()]
    table = Table("", title="Structure", title_justify="left")
    for folder in found:
        table.add_column(Path(folder).name, justify="right")
    for name in columns[0]:
        table.add_row(name, *(rows[name] for rows in columns))
    console = Console()
    console.print(table)
    if not folders:
        ratio = _total_lines("tests") / _total_lines("dst_jax")
        console.print(f"lines of tests for a line of dst_jax: {ratio:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
