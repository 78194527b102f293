"""A Sphinx extension: pages of the API, one per wing, from the docstrings.

At the end it checks that every public name has come out on a page.
"""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata

from building import docstrings, public_names, signatures

_NOT_SHOWN = "_tuplegetter"
"""The type of a NamedTuple's fields, which its docstring describes."""


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connects what is below with the events of a build."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", _docstring, priority=400)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("build-finished", check_coverage)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx) -> None:
    """Writes `api/WING.rst`; a page that has not changed is left as it is."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    for page, title in public_names.PAGES.items():
        text = "\n".join([title, "=" * len(title), "", *_page(page)])
        file = folder / f"{page}.rst"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def check_coverage(app: Sphinx, exception: Exception | None) -> None:
    """Raises if a public name is on no page, or has nothing to say."""
    if exception or app.builder.format != "html":
        return
    known = app.env.domains.python_domain.objects
    names = public_names.owners()
    missing = sorted({name.path for name in names.values()} - known.keys())
    silent = [path for path, name in names.items() if not name.doc]
    if missing or silent:
        raise ExtensionError(
            f"public names on no page: {missing}; without a docstring: {silent}"
        )
    print(f"{len(names)} public names are documented")


def _page(page: str) -> list[str]:
    lines: list[str] = []
    owners = public_names.owners()
    for number, module in enumerate(public_names.modules(page)):
        if number:
            lines += [f"``{module}``", "-" * (len(module) + 4), ""]
        lines += [f".. automodule:: {module}", ""]
        for name in public_names.names(module):
            owner = owners[name.path]
            lines += _entry(name) if owner == name else [_reference(name, owner), ""]
    return lines


def _entry(name: public_names.Name) -> list[str]:
    if name.kind == "data":
        value, doc = public_names.assignment(name.module, name.name)
        text = docstrings.converted(doc.splitlines())
        return [
            f".. py:data:: {name.name}",
            *([f"   :value: {value}"] if 0 < len(value) < 80 else []),
            "",
            *("   " + line for line in text),
        ]
    if name.kind == "function":
        return [f".. autofunction:: {name.path}", ""]
    value = name.value
    error = isinstance(value, type) and issubclass(value, BaseException)
    return [f".. autoclass:: {name.path}{'()' * error}", "   :members:", ""]


def _reference(name: public_names.Name, owner: public_names.Name) -> str:
    return f"``{name.name}`` is :py:obj:`{owner.path}`."


def _docstring(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = docstrings.converted(lines)


def _signature(
    app: Sphinx,
    what: str,
    name: str,
    value: Any,
    options: Any,
    text: str,
    returned: str,
) -> tuple[str, str] | None:
    if what not in ("function", "method", "class") or not callable(value):
        return None
    return signatures.signature(value)


def _skip(
    app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    return True if type(value).__name__ == _NOT_SHOWN else None
