"""A Sphinx extension: every link inside the built site leads somewhere.

Links to other hosts are not followed: a build needs no network.
"""

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata

__all__ = ["broken", "check", "setup"]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Checks the pages once they are written."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def check(app: Sphinx, exception: Exception | None) -> None:
    """Raises if a link between pages, or to a figure or a file, is broken."""
    if exception or app.builder.format != "html":
        return
    found = broken(Path(app.outdir))
    if found:
        raise ExtensionError("broken links:\n" + "\n".join(found))


def broken(folder: Path) -> list[str]:
    """Links of the pages in a folder whose file or whose anchor does not exist."""
    files = sorted(folder.rglob("*.html"))
    ours = [file for file in files if "_static" not in file.relative_to(folder).parts]
    pages = {path: _Page.of(path) for path in ours}
    return [
        f"{path.relative_to(folder)}: {link}"
        for path, page in pages.items()
        for link in sorted(set(page.links))
        if not _leads_somewhere(path, link, pages)
    ]


def _leads_somewhere(path: Path, link: str, pages: dict[Path, "_Page"]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target not in pages:
        return target.exists()
    anchor = unquote(parts.fragment)
    return not anchor or anchor in pages[target].anchors


class _Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    @classmethod
    def of(cls, path: Path) -> "_Page":
        page = cls()
        page.feed(path.read_text())
        return page

    def handle_starttag(
        self, tag: str, attrs: Iterable[tuple[str, str | None]]
    ) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and tag != "base":
                self.links.append(value)
