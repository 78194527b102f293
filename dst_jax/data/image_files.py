"""Files of images in folders: which they are, and a digest of them."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["ENDINGS", "digest", "is_hidden", "name_in"]

ENDINGS = (".png", ".jpg", ".jpeg")
"""How the names of images end, in upper or lower case."""


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is one that systems leave behind, not a user.

    >>> is_hidden(Path("train/._cat.png")), is_hidden(Path("train/cat.png"))
    (True, False)
    """
    return path.name.startswith(".") or path.name in ("__MACOSX", "Thumbs.db")


def name_in(root: Path, path: Path) -> str:
    """The name of a file below a folder, which can be printed.

    >>> name_in(Path("photos"), Path("photos/train/cat/1.png"))
    'train/cat/1.png'
    """
    return os.fsencode(path.relative_to(root).as_posix()).decode(
        errors="backslashreplace"
    )


def digest(root: Path, paths: Iterable[Path], *, start: bytes = b"") -> str:
    """The SHA-256 of the names and sizes of files.

    Args:
      root: folder that the files are below.
      paths: files, in order; of a broken link the size is missing.
      start: what comes before them.

    >>> digest(Path("."), []) == hashlib.sha256().hexdigest()
    True
    """
    found = hashlib.sha256(start)
    for path in paths:
        try:
            size = path.stat().st_size
        except OSError:
            size = None
        found.update(f"{name_in(root, path)} {size}\n".encode())
    return found.hexdigest()
