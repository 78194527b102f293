"""The commands, and the pages of the documentation, which a wheel holds as text.

    python -m experiments

`python -m experiments.NAME --help` shows the options of one. The pages are Markdown,
without their figures.
"""

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_NO_PAGES = ("index", "benchmarks", "changelog")
"""A table of contents, and two that take in files from outside the folder."""


def main() -> int:
    """Lists commands and pages; returns the exit status.

    >>> main()
    Commands, as python -m experiments.NAME (--help shows the options):
    ...
    0
    """
    files = sorted(_ROOT.glob("experiments/[a-z]*.py"))
    print("Commands, as python -m experiments.NAME (--help shows the options):\n")
    _table({file.stem: _first_line(file) for file in files})
    folder = _docs()
    print(f"\nDocumentation, as Markdown in {folder}:\n")
    pages = [*sorted(folder.glob("*.md")), *sorted(folder.glob("tutorials/*.md"))]
    names = {str(page.relative_to(folder)): page for page in pages}
    _table(
        {n: _heading(page) for n, page in names.items() if page.stem not in _NO_PAGES}
    )
    return 0


def _docs() -> Path:
    """Where the pages are: in the installed package, or next to it in a checkout."""
    installed = _ROOT / "dst_jax" / "docs"
    return installed if installed.is_dir() else _ROOT / "docs"


def _table(lines: Mapping[str, str]) -> None:
    width = max(map(len, lines))
    for name, line in lines.items():
        print(f"  {name:{width}}  {line}")


def _first_line(file: Path) -> str:
    """What a command's docstring begins with; nothing is imported."""
    doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return doc.partition("\n")[0]


def _heading(page: Path) -> str:
    """The first heading of a page."""
    lines = page.read_text("utf-8").splitlines()
    return next((line[2:] for line in lines if line.startswith("# ")), "")


if __name__ == "__main__":
    sys.exit(main())
